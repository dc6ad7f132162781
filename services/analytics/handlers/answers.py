"""Answer what is asked: figures per campaign and step, and whether the ledger balances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.clock import rfc3339
from libs.contracts.event import registry
from libs.errors import Invalid, NotFound
from libs.ids import parse_public_id, public_id
from libs.messaging.work import UnitOfWork
from libs.web.cursors import Cursors, page
from services.analytics.domain import ledger
from services.analytics.domain.figures import Completeness, Figures, Key, Provenance, Window, tabulate, together
from services.analytics.handlers.ledger import judge
from services.analytics.repository.facts import FreshnessRepository
from services.analytics.repository.figures import FigureRepository, Filters
from services.analytics.schemas import (
    BucketOut,
    CampaignFiguresOut,
    CampaignFiguresPage,
    CompletenessOut,
    DayFigureOut,
    DayOut,
    DoorOut,
    FigureOut,
    FigureQuery,
    HopOut,
    LedgerOut,
    ProvenanceOut,
    RateOut,
    StepFiguresOut,
    StepFiguresPage,
)


async def campaign_figures(query: FigureQuery, work: UnitOfWork, *, cursors: Cursors) -> CampaignFiguresPage:
    """A page of campaigns by id, each with its figures.

    Raises:
        NotFound: no such campaign or account within the caller's companies.
        Invalid: the days are in the wrong order, or the cursor is not of this list.
    """
    rows = FigureRepository(work.session)
    filters, window = await _asked(query, rows)
    name = _name_of("campaigns", query)
    position = cursors.read(query.after, org_id=work.org_id, query=name)
    after = None if position is None else UUID(position[0])
    found, has_more = page(await rows.campaigns(filters, after, query.limit + 1), query.limit)
    channels: dict[Key, str | None] = {(row["campaign_id"], None): row["channel"] for row in found}
    table = await _Table.read(rows, channels, by_step=False, query=query, window=window)
    data = [
        CampaignFiguresOut(
            campaign_id=public_id("cam", row["campaign_id"]),
            account_id=public_id("acc", row["account_id"]),
            company_id=_optional_id("cmp", row["company_id"]),
            provider=row["provider"],
            channel=row["channel"],
            name=row["name"],
            status=row["status"],
            **table.row((row["campaign_id"], None)),
        )
        for row in found
    ]
    last = [str(found[-1]["campaign_id"])] if has_more else None
    return CampaignFiguresPage(data=data, **await _page(work, table, window, cursors, name, last))


async def step_figures(query: FigureQuery, work: UnitOfWork, *, cursors: Cursors) -> StepFiguresPage:
    """A page of sequence steps by campaign and number, each with its figures; raises as `campaign_figures`.

    Campaigns of a channel that tells no steps have none here; the page names the channel.
    """
    rows = FigureRepository(work.session)
    filters, window = await _asked(query, rows)
    name = _name_of("sequence-steps", query)
    position = cursors.read(query.after, org_id=work.org_id, query=name)
    after = None if position is None else (UUID(position[0]), int(position[1]))
    found, has_more = page(await rows.steps(filters, after, query.limit + 1), query.limit)
    channels: dict[Key, str | None] = {(row["campaign_id"], row["number"]): row["channel"] for row in found}
    table = await _Table.read(rows, channels, by_step=True, query=query, window=window)
    data = [
        StepFiguresOut(
            step_id=_optional_id("stp", row["step_id"]),
            campaign_id=public_id("cam", row["campaign_id"]),
            campaign_name=row["campaign_name"],
            account_id=public_id("acc", row["account_id"]),
            company_id=_optional_id("cmp", row["company_id"]),
            channel=row["channel"],
            number=row["number"],
            name=row["name"],
            delay_days=row["delay_days"],
            **table.row((row["campaign_id"], row["number"])),
        )
        for row in found
    ]
    last = [str(found[-1]["campaign_id"]), found[-1]["number"]] if has_more else None
    return StepFiguresPage(
        data=data,
        channels_without_steps=await rows.channels_without_steps(filters),
        **await _page(work, table, window, cursors, name, last),
    )


async def ledger_of(work: UnitOfWork, *, settle_seconds: float) -> LedgerOut:
    """Every hop of the org's events, what of it is unaccounted for, and whether all of it balances."""
    publishers = {name: event.publisher for name, event in registry.types.items()}
    verdict = await judge(work.session, settle_seconds)
    door = verdict.door
    return LedgerOut(
        balanced=verdict.unaccounted == 0,
        unaccounted=verdict.unaccounted,
        settle_seconds=settle_seconds,
        as_of=_time(await FreshnessRepository(work.session).newest("ledger")),
        door=DoorOut(
            accepted=door.entered,
            on_the_way=door.on_the_way,
            unaccounted=door.unaccounted,
            balanced=door.balanced,
            unbalanced_buckets=_buckets(door),
            **door.states,
        ),
        data=[
            HopOut(
                event_type=hop.event_type,
                publisher=publishers[hop.event_type],
                queue=hop.queue,
                sent=hop.entered,
                on_the_way=hop.on_the_way,
                unaccounted=hop.unaccounted,
                balanced=hop.balanced,
                unbalanced_buckets=_buckets(hop),
                **hop.states,
            )
            for hop in verdict.hops
        ],
    )


class _Table:
    """The figures of one page of keys."""

    def __init__(self, query: FigureQuery, figures: dict[Key, Figures]) -> None:
        self.query = query
        self.figures = figures
        self.left_out: dict[Key, int] = {}
        self.completeness: dict[UUID, Completeness] = {}

    @classmethod
    async def read(
        cls, rows: FigureRepository, channels: Mapping[Key, str | None], *, by_step: bool, query: FigureQuery,
        window: Window,
    ) -> _Table:  # fmt: skip
        campaigns = sorted({campaign for campaign, _ in channels})
        totals = await rows.counts(campaigns, by_step=by_step, by_day=False, window=window)
        days = []
        if query.series == "day":
            days = await rows.counts(campaigns, by_step=by_step, by_day=True, window=window)
        table = cls(query, tabulate(channels, totals, days))
        if not window.is_open:
            table.left_out = await rows.undated(campaigns, by_step=by_step)
        table.completeness = await rows.completeness(campaigns)
        return table

    def row(self, key: Key) -> dict[str, Any]:
        figures = self.figures[key]
        series = None
        if self.query.series == "day":
            series = [
                DayOut(
                    day=day,
                    metrics={name: DayFigureOut(total=one.total, unique=one.unique) for name, one in metrics.items()},
                )
                for day, metrics in figures.days.items()
            ]
        return {
            "metrics": {name: FigureOut(**asdict(figure)) for name, figure in figures.metrics.items()},
            "rates": {name: RateOut(**asdict(rate)) for name, rate in figures.rates().items()},
            "series": series,
            "undated_left_out": self.left_out.get(key, 0),
            "provenance": ProvenanceOut(**asdict(figures.provenance)),
            "completeness": _completeness(self.completeness.get(key[0], Completeness())),
        }

    def provenance(self) -> Provenance:
        all_ = [figures.provenance for figures in self.figures.values()]
        return Provenance(
            sum(one.webhook for one in all_), sum(one.pull for one in all_), sum(one.inferred for one in all_)
        )


async def _asked(query: FigureQuery, rows: FigureRepository) -> tuple[Filters, Window]:
    if query.first is not None and query.last is not None and query.first > query.last:
        raise Invalid("`from` must not be later than `to`", pointer="from")
    campaign = None if query.campaign_id is None else parse_public_id("cam", query.campaign_id)
    account = None if query.account_id is None else parse_public_id("acc", query.account_id)
    # The words of parse_public_id: malformed, unknown and another's must look the same.
    if campaign is not None and not await rows.has_campaign(campaign):
        raise NotFound("there is no cam_ object with this id")
    if account is not None and not await rows.has_account(account):
        raise NotFound("there is no acc_ object with this id")
    filters = Filters(campaign_id=campaign, account_id=account, channel=query.channel)
    return filters, Window(await rows.time_zone(), query.first, query.last)


async def _page(
    work: UnitOfWork, table: _Table, window: Window, cursors: Cursors, name: str, last: list[Any] | None
) -> dict[str, Any]:
    campaigns = {campaign for campaign, _ in table.figures}
    of_page = together(table.completeness.get(campaign, Completeness()) for campaign in sorted(campaigns))
    return {
        "has_more": last is not None,
        "next_cursor": None if last is None else cursors.write(last, org_id=work.org_id, query=name),
        "as_of": _time(await FreshnessRepository(work.session).newest("facts")),
        "time_zone": window.time_zone,
        "first": window.first,
        "last": window.last,
        "completeness": _completeness(of_page),
        "provenance": ProvenanceOut(**asdict(table.provenance())),
    }


def _name_of(listing: str, query: FigureQuery) -> str:
    return f"analytics/{listing}?{query.model_dump_json(exclude={'after', 'limit'})}"


def _completeness(completeness: Completeness) -> CompletenessOut:
    return CompletenessOut(
        open_drift=completeness.open_drift, last_reconciled_at=_time(completeness.last_reconciled_at)
    )


def _buckets(hop: ledger.Hop) -> list[BucketOut]:
    return [
        BucketOut(bucket=rfc3339(bucket.bucket), on_the_way=bucket.on_the_way, ids_differ=bucket.ids_differ)
        for bucket in hop.worst
    ]


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339(moment)


def _optional_id(prefix: str, identifier: UUID | None) -> str | None:
    return None if identifier is None else public_id(prefix, identifier)
