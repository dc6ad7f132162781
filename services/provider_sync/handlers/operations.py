"""Asking for a change at a provider: what is to be changed is found, the wish is kept, a worker makes the calls.

Each takes up to three short transactions, one after the other: what the caller may see; the account, which is the
service's own to know (a sub-account's company sees its campaigns and not the account); and the operation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import orjson

from libs.crash import crash_point
from libs.errors import Conflict, Invalid, NotFound, Unsupported
from libs.ids import AccountId, CompanyId, parse_public_id, public_id
from libs.messaging.work import UnitOfWork, Units
from libs.providers import arguments as neutral
from libs.providers.capabilities import LeadAdding
from libs.providers.effects import WRITES
from libs.providers.records import ConversationRef, LeadRef
from libs.providers.registry import Provider
from libs.tenancy.context import TenantContext
from services.provider_sync.domain.accounts import Account
from services.provider_sync.domain.jobs import Wish
from services.provider_sync.domain.operations import ENDING, PREFIX, Wanted, job_key
from services.provider_sync.handlers.effects import tell, tell_if_changed
from services.provider_sync.operation_schemas import (
    CampaignChangeIn,
    DecisionIn,
    EmailSequenceIn,
    LeadsIn,
    LinkedInSequenceIn,
    NewCampaignIn,
    OperationOut,
    ReplyIn,
)
from services.provider_sync.repository.accounts import AccountRepository, CompanyRepository
from services.provider_sync.repository.jobs import JobRepository
from services.provider_sync.repository.operations import OperationRepository
from services.provider_sync.repository.targets import TargetRepository


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """Who asks, and with which Idempotency-Key (None: each request is an operation of its own)."""

    context: TenantContext
    request_id: str
    key: str | None


@dataclass(frozen=True, slots=True)
class Accepted:
    """`is_repeated`: the same was asked for before with the same key, and this is that operation."""

    operation: OperationOut
    is_repeated: bool


@dataclass(frozen=True, slots=True)
class Target:
    account_id: AccountId
    company_id: CompanyId
    public_id: str


class Operations:
    """The wishes of callers. Each method raises NotFound for what the caller cannot see, Unsupported where the account's
    provider cannot do it, and Conflict for a key that was used for something else, or of a company that is archived; publishes
    OperationChangedV1 and ActionPerformedV1."""

    def __init__(self, units: Units, http: httpx.AsyncClient, providers: Mapping[str, Provider]) -> None:
        self._units = units
        self._http = http
        self._providers = providers

    async def create_campaign(self, asking: Asking, channel: str, body: NewCampaignIn) -> Accepted:
        """Raises: Invalid when none of the account's sub-accounts is the company's, or it is archived."""
        account_id = AccountId(parse_public_id("acc", body.account_id))
        wanted = None if body.company_id is None else CompanyId(parse_public_id("cmp", body.company_id))
        async with self._begin(asking) as work:
            is_seen = account_id in await AccountRepository(work.session).find_all([account_id])
            is_open = wanted is None or wanted in await CompanyRepository(work.session).open([wanted])
        account = await self._account(asking, account_id)
        scope = asking.context.scope
        if account is not None and not is_seen:  # who has a sub-account of it may use that, and knows the account's id
            is_seen = any(scope.covers(company) for company in account.clients.values())
        if account is None or not is_seen or account.channel != channel:
            raise NotFound("there is no acc_ object with this id")
        company = wanted or account.company_id
        if not scope.covers(company):
            raise NotFound("there is no cmp_ object with this id")
        client = next((one for one, its in account.clients.items() if its == company), None)
        if not is_open or (client is None and company != account.company_id):
            raise Invalid("this is no company of the account, or it is archived", pointer="/company_id")
        target = Target(account.id, company, public_id("acc", account.id))
        return await self._accept(
            asking, "create_campaign", target, account,
            {"name": body.name, "client_external_id": client if company != account.company_id else None},
        )  # fmt: skip

    async def change_campaign(self, asking: Asking, channel: str, campaign_id: str, body: CampaignChangeIn) -> Accepted:
        return await self._of_campaign(asking, channel, campaign_id, "update_campaign", changes=body.as_record())

    async def replace_sequence(
        self, asking: Asking, channel: str, campaign_id: str, body: EmailSequenceIn | LinkedInSequenceIn
    ) -> Accepted:
        if isinstance(body, EmailSequenceIn):
            return await self._of_campaign(asking, channel, campaign_id, "replace_steps", steps=body.as_record())
        return await self._of_campaign(asking, channel, campaign_id, "replace_sequence", first=body.as_record())

    async def control_campaign(self, asking: Asking, channel: str, campaign_id: str, kind: str) -> Accepted:
        return await self._of_campaign(asking, channel, campaign_id, kind)

    async def add_leads(self, asking: Asking, channel: str, campaign_id: str, body: LeadsIn) -> Accepted:
        """Raises: Invalid when a lead lacks what people are known by on this channel, or is named twice."""
        name = "email" if channel == "email" else "profile_url"
        known: set[str] = set()
        for number, lead in enumerate(body.leads):
            value = (getattr(lead, name) or "").strip().lower()
            if not value:
                raise Invalid(f"leads of {channel} campaigns are known by {name}", pointer=f"/leads/{number}/{name}")
            if value in known:
                raise Invalid("this lead is named twice", pointer=f"/leads/{number}/{name}")
            known.add(value)
        leads = [lead.as_record() for lead in body.leads]
        return await self._of_campaign(asking, channel, campaign_id, "add_leads", leads=leads)

    async def change_lead(self, asking: Asking, channel: str, campaign_id: str, lead_id: str, kind: str) -> Accepted:
        return await self._of_campaign(asking, channel, campaign_id, kind, lead_id=lead_id)

    async def reply(self, asking: Asking, conversation_id: str, body: ReplyIn) -> Accepted:
        """Raises: Conflict when it is not known with whom the conversation is."""
        async with self._begin(asking) as work:
            targets = TargetRepository(work.session)
            row = found("cnv", await targets.conversation(parse_public_id("cnv", conversation_id)))
            answered = None
            if body.to_message_id is not None:
                answered = await targets.message_key(row["id"], parse_public_id("msg", body.to_message_id))
                found("msg", answered)
        if row["lead_key"] is None:
            raise Conflict("it is not known yet with whom this conversation is: try again later", code="lead_unknown")
        conversation = ConversationRef(
            key=row["key"],
            lead=LeadRef(key=row["lead_key"], external_id=row["lead_external_id"]),
            campaign_external_id=row["campaign_external_id"],
            external_id=row["external_id"],
            sender_external_id=row["sender_external_id"],
        )
        target = Target(row["account_id"], row["company_id"], public_id("cnv", row["id"]))
        account = await self._account(asking, target.account_id)
        wanted = {"conversation": conversation, "answer": body.as_record(answered)}
        return await self._accept(asking, "reply", target, account, wanted)

    async def _of_campaign(
        self, asking: Asking, channel: str, campaign_id: str, kind: str, *, lead_id: str | None = None, **wanted: Any
    ) -> Accepted:
        async with self._begin(asking) as work:
            targets = TargetRepository(work.session)
            row = found("cam", await targets.campaign(channel, parse_public_id("cam", campaign_id)))
            if lead_id is not None:
                lead = found("led", await targets.lead(row["account_id"], parse_public_id("led", lead_id)))
                wanted["lead"] = LeadRef(key=lead["key"], external_id=lead["external_id"])
        target = Target(row["account_id"], row["company_id"], public_id("cam", row["id"]))
        account = await self._account(asking, target.account_id)
        return await self._accept(asking, kind, target, account, {"campaign_external_id": row["external_id"], **wanted})

    async def _accept(
        self, asking: Asking, kind: str, target: Target, account: Account | None, wanted: Mapping[str, Any]
    ) -> Accepted:
        """Keep the wish, once per key."""
        if account is None:
            raise NotFound("there is no acc_ object with this id")
        provider = self._providers[account.provider]
        check_offered(provider, WRITES[kind])
        arguments = neutral.to_json(kind, wanted)
        parts = self._parts(kind, arguments, account, provider)
        await _check_wish(provider, account, kind, parts)
        asked = Wanted(
            account_id=target.account_id,
            company_id=target.company_id,
            kind=kind,
            target=target.public_id,
            arguments=arguments,
            parts=parts,
            idempotency_key=asking.key,
            fingerprint=fingerprint(kind, target, arguments),
        )
        async with self._begin(asking) as work:
            accepted = await keep(asked, work)
            crash_point("operation.written")
        crash_point("operation.committed")
        return accepted

    def _parts(
        self, kind: str, arguments: Mapping[str, Any], account: Account, provider: Provider
    ) -> Sequence[Mapping[str, Any]]:
        """What is too much for one call is several effects."""
        if kind != "add_leads":
            return [arguments]
        client = _nobody(provider, account, self._http)
        size, leads = provider.require(client, LeadAdding).largest_batch_of_leads(), arguments["leads"]  # type: ignore[type-abstract]
        return [{**arguments, "leads": leads[start : start + size]} for start in range(0, len(leads), size)]

    async def _account(self, asking: Asking, account_id: AccountId) -> Account | None:
        async with self._units.begin(asking.context.org_id) as own:
            return (await AccountRepository(own.session).find_all([account_id])).get(account_id)

    def _begin(self, asking: Asking) -> Any:
        context = asking.context
        return self._units.begin(context.org_id, context.scope, actor=context.principal, request_id=asking.request_id)


async def keep(asked: Wanted, work: UnitOfWork) -> Accepted:
    """Keep the wish and the job that it may be, once per key. Publishes OperationChangedV1 and ActionPerformedV1.

    Raises:
        Conflict: the key was used for another request, or the company is archived.
    """
    operations = OperationRepository(work.session)
    operation_id = await operations.insert(asked, actor=work.actor)
    if operation_id is None:
        return await repeated(operations, asked, work)
    # Held until commit: what archives the company afterwards finds this operation and takes it back.
    if asked.kind not in ENDING and await CompanyRepository(work.session).is_archived(asked.company_id):
        raise Conflict("the company is archived: nothing new is begun for it", code="company_archived")
    row = found(PREFIX, await operations.find(operation_id))
    cause = tell(row, work)
    if asked.job is not None:
        wish = Wish(
            account_id=asked.account_id,
            kind=asked.job,
            key=job_key(operation_id),
            payload={**asked.arguments, "operation_id": str(operation_id)},
            cause=cause,
        )
        await JobRepository(work.session).ask([wish])
    work.audit(
        "operation.requested",
        public_id(PREFIX, operation_id),
        {"kind": asked.kind, "target": asked.target},
        company_id=asked.company_id,
    )
    return Accepted(shown(row), is_repeated=False)


def fingerprint(kind: str, target: Target, arguments: Mapping[str, Any]) -> bytes:
    said = [kind, target.public_id, str(target.company_id), arguments]
    return hashlib.sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).digest()


async def show_operation(work: UnitOfWork, operation_id: str) -> OperationOut:
    row = await OperationRepository(work.session).find(parse_public_id(PREFIX, operation_id))
    return shown(found(PREFIX, row))


async def cancel_operation(work: UnitOfWork, operation_id: str) -> OperationOut:
    """Take back what was not sent yet. Publishes OperationChangedV1 and ActionPerformedV1.

    Raises:
        Conflict: all of it was sent or settled.
    """
    operations, identifier = OperationRepository(work.session), parse_public_id(PREFIX, operation_id)
    row = found(PREFIX, await operations.lock(identifier))
    if await JobRepository(work.session).take_back(job_key(identifier)):
        cancelled = await operations.settle(identifier, "cancelled")
        if cancelled is not None:
            tell(cancelled, work)
    elif not await operations.cancel(identifier):
        raise Conflict(f"nothing is left to take back: the operation is {row['state']}", code="not_cancellable")
    else:
        await tell_if_changed(identifier, work)
    return await _changed(identifier, "operation.cancelled", {}, work)


async def cancel_of_companies(companies: Iterable[CompanyId], work: UnitOfWork) -> None:
    """Take back what was asked for these companies and is not sent yet, but for what ends something. Publishes
    OperationChangedV1 of each."""
    operations = OperationRepository(work.session)
    for operation_id in await operations.lock_unsent(companies, without=ENDING):
        if await operations.cancel(operation_id):
            await tell_if_changed(operation_id, work)


async def resolve_operation(work: UnitOfWork, operation_id: str, body: DecisionIn) -> OperationOut:
    """A person has looked and says what became of a call whose answer was lost. Publishes OperationChangedV1 and
    ActionPerformedV1.

    Raises:
        Conflict: nothing waits for a person.
    """
    operations, identifier = OperationRepository(work.session), parse_public_id(PREFIX, operation_id)
    row = found(PREFIX, await operations.lock(identifier))
    if not await operations.decide(identifier, done=body.outcome == "done", note=body.note):
        raise Conflict(f"nothing waits for a person: the operation is {row['state']}", code="nothing_to_decide")
    await tell_if_changed(identifier, work)
    return await _changed(identifier, "operation.resolved", {"outcome": body.outcome}, work)


async def _changed(operation_id: UUID, action: str, details: Mapping[str, Any], work: UnitOfWork) -> OperationOut:
    row = await OperationRepository(work.session).find(operation_id)
    assert row is not None
    work.audit(action, public_id(PREFIX, operation_id), details, company_id=CompanyId(row["company_id"]))
    return shown(row)


async def repeated(operations: OperationRepository, asked: Wanted, work: UnitOfWork) -> Accepted:
    row = await operations.find_by_key(work.actor, asked.idempotency_key or "")
    if row is None or bytes(row["fingerprint"]) != asked.fingerprint:
        raise Conflict(
            "this Idempotency-Key was used for another request: send a new one", code="idempotency_key_reused"
        )
    return Accepted(shown(row), is_repeated=True)


def check_offered(provider: Provider, capability: type[object]) -> None:
    """Raises: Unsupported, naming the capability and why it is not offered."""
    if not provider.offers(capability):
        why = provider.lacks.get(capability.__name__, "the provider offers no such thing")
        raise Unsupported(f"{provider.name} accounts offer no {capability.__name__}: {why}")


async def _check_wish(provider: Provider, account: Account, kind: str, parts: Sequence[Mapping[str, Any]]) -> None:
    """Ask the adapter as the worker will, with nothing at the other end: what it refuses before its first call, it refuses
    whatever the provider would have said.

    Raises:
        Unsupported, Invalid: the adapter's own, naming the wish.
    """
    async with httpx.AsyncClient(transport=_NoNetwork(), trust_env=False) as http:
        client = _nobody(provider, account, http)
        for part in parts:
            with suppress(_Reached):
                await getattr(client, kind)(**neutral.from_json(kind, part))


class _Reached(Exception):
    """There would be a call now."""


class _NoNetwork(httpx.AsyncBaseTransport):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        raise _Reached


def _nobody(provider: Provider, account: Account, http: httpx.AsyncClient) -> Any:
    """A client that makes no call needs no credentials."""
    return provider.make_client(dict.fromkeys(provider.credential_fields, "none"), account.base_url, http)


def found(prefix: str, row: Any) -> Any:
    if row is None:
        raise NotFound(f"there is no {prefix}_ object with this id")
    return row


def shown(row: asyncpg.Record) -> OperationOut:
    same = "kind target state needs_decision done total result error_code error note"
    return OperationOut(
        id=public_id(PREFIX, row["id"]),
        account_id=public_id("acc", row["account_id"]),
        company_id=public_id("cmp", row["company_id"]),
        created_at=row["created_at"],
        changed_at=row["changed_at"],
        completed_at=row["completed_at"],
        **{name: row[name] for name in same.split()},
    )
