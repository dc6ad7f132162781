"""Readings become facts: the one way into the model, whether a webhook or a pull told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from libs.contracts.envelope import Envelope
from libs.ids import AccountId, CompanyId
from libs.messaging.work import UnitOfWork
from services.provider_sync.domain.accounts import Account
from services.provider_sync.domain.kinds import CAMPAIGN, KINDS, LEAD, MESSAGE, Kind
from services.provider_sync.domain.merging import Joined, Row, State, is_news, join, provenance, source_of
from services.provider_sync.domain.people import profile_of
from services.provider_sync.domain.statements import Stating, Told, gather
from services.provider_sync.domain.telling import tell
from services.provider_sync.repository.entities import EntityRepository

_CONFLICTS = 5  # an insert that somebody else was quicker with, again and again, is no chance any more
_COMPANY_AND_SOURCES = frozenset({"company_id", "sources"})
_STEP_FIELDS = frozenset({"stated_step", "in_reply_to_id"})


async def record(told: Sequence[Told], work: UnitOfWork, *, only_news: bool = False) -> int:
    """Keep what the readings state; answers how many entities that changed.

    Publishes a `*.recorded` event for each whose facts changed, and nothing for what was known. A campaign that changes
    its company takes all its children along; that it did is told by the campaign's own event.

    `only_news`: where a statement says of an entity what is known of it, not even its newer date is kept. Reading the same
    list again then writes nothing.
    """
    stating = gather(told)
    accounts = {one.account.id: one.account for one in told}
    keeper = _Keeper(EntityRepository(work.session), accounts, only_news=only_news)
    changed = 0
    for kind in KINDS:
        states = await keeper.news(kind, stating.of(kind))
        if not states:
            continue
        rows = await keeper.keep(kind, states)
        changed += len(rows)
        for row in sorted(rows.values(), key=lambda row: row.id):
            event = tell(kind.name, row, accounts[row.account_id])
            if event is not None:
                # A lead belongs to the account, not to a company: its event carries none.
                work.publish(event, company_id=row.company_id, cause=_cause(stating, row))
    return changed


def _cause(stating: Stating, row: Row) -> Envelope | None:
    """What told of the row, or of the message from which it was inferred."""
    answered = row.values.get("in_reply_to_id")
    return stating.causes.get(row.id) or (stating.causes.get(answered) if isinstance(answered, UUID) else None)


class _Keeper:
    """Writes kind after kind; remembers the campaigns' companies for their children."""

    def __init__(self, entities: EntityRepository, accounts: Mapping[AccountId, Account], *, only_news: bool) -> None:
        self._entities = entities
        self._accounts = accounts
        self._only_news = only_news
        self._companies: dict[UUID, CompanyId] = {}

    async def news(self, kind: Kind, states: Mapping[UUID, State]) -> Mapping[UUID, State]:
        """Those to be kept. Campaigns always: their children take their companies from them."""
        if not self._only_news or kind is CAMPAIGN or not states:
            return states
        known = await self._entities.known(kind, states.values())
        return {one: seen for one, seen in states.items() if one not in known or is_news(seen, *known[one])}

    async def keep(self, kind: Kind, states: Mapping[UUID, State]) -> dict[UUID, Row]:
        """Merge and write; answers the rows whose facts changed."""
        told: dict[UUID, Row] = {}
        stepped: set[UUID] = set()
        left = states
        for _ in range(_CONFLICTS):
            known = await self._entities.lock(kind, left.values())
            joined = {
                one: self._complete(kind, join(known.get(one), seen), known.get(one)) for one, seen in left.items()
            }
            written = await self._write(kind, known, joined)
            for one in written:
                if one not in known or joined[one].changed & (kind.told | _COMPANY_AND_SOURCES):
                    told[one] = joined[one].row
                if one not in known or joined[one].changed & _STEP_FIELDS:
                    stepped.add(one)
            left = {one: seen for one, seen in left.items() if one not in written}
            if not left:
                break
        else:
            raise RuntimeError(f"rows of {kind.table} are neither there nor to be inserted")
        if kind is MESSAGE and stepped:
            told |= await self._entities.infer_steps(stepped)
        return told

    async def _write(self, kind: Kind, known: Mapping[UUID, Row], joined: Mapping[UUID, Joined]) -> set[UUID]:
        """Answers what is written: all but those rows that somebody else has inserted meanwhile."""
        old = [result for one, result in joined.items() if one in known]
        new = await self._entities.insert(kind, [result.row for one, result in joined.items() if one not in known])
        await self._entities.update(kind, [result.row for result in old if result.changed])
        moved = [result.row for result in old if result.moved and not result.changed]
        if self._only_news:  # that a pull tells it too is news, that it still does is none
            moved = [row for row in moved if row.sources != known[row.id].sources]
        await self._entities.touch(kind, moved)
        if kind is CAMPAIGN:
            self._companies |= {one: _company(result) for one, result in joined.items()}
            elsewhere = {result.row.id: _company(result) for result in old if "company_id" in result.changed}
            if elsewhere:
                await self._entities.relabel(elsewhere)
        return new | known.keys()

    def _complete(self, kind: Kind, joined: Joined, before: Row | None) -> Joined:
        """With what follows from the fields: the company, a message's step, a lead's profile, the next
        revision."""
        row, changed = joined.row, set(joined.changed)
        if kind is not LEAD:
            row.company_id = self._company(kind, row)
            if before is None or before.company_id != row.company_id:
                changed.add("company_id")
        if kind is MESSAGE and "stated_step" in row.values:
            row.values["step_number"] = row.values["stated_step"]
            row.values["step_source"] = source_of(row.versions["stated_step"]).value
            if before is None or any(before.values.get(n) != row.values[n] for n in ("step_number", "step_source")):
                changed |= {"step_number", "step_source"}
        if kind is LEAD and "profile_url" in changed:
            row.values["profile"] = profile_of(str(row.values["profile_url"]))
        if before is not None and provenance(before.sources) is not provenance(row.sources):
            changed.add("sources")
        if changed or before is None:
            row.revision += 1
        return replace(joined, changed=frozenset(changed))

    def _company(self, kind: Kind, row: Row) -> CompanyId:
        account = self._accounts[row.account_id]
        if kind is CAMPAIGN:
            client = row.values.get("client_external_id")
            return account.company_of(client if isinstance(client, str) else None)
        campaign_id = self._campaign_of(kind, row)
        if campaign_id in self._companies:
            return self._companies[campaign_id]
        # Either it has no campaign, or one that none of these readings speaks of: then it is labelled already.
        return row.company_id or account.company_id

    def _campaign_of(self, kind: Kind, row: Row) -> UUID | None:
        names = [one.name for one in kind.identity]
        found = row.identity[names.index("campaign_id")] if "campaign_id" in names else row.values.get("campaign_id")
        return found if isinstance(found, UUID) else None


def _company(joined: Joined) -> CompanyId:
    assert joined.row.company_id is not None  # _complete gave it
    return joined.row.company_id
