"""How each operation is asked: for which objects, in which ways. One entry per operation; the build fails without.

To add a route: its line here, then its cells in table.txt (`python -m tests.security.matrix --add`, and read what it wrote).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.security.matrix.world import INTERVAL_SECONDS, World

HIDDEN = ("other", "nobody")  # these two must not be told apart
EVERY = ("own", "sibling", "archived", *HIDDEN, "suspended")


@dataclass(frozen=True)
class Request:
    """`named` is the id that is asked for: in answers it is no disclosure."""

    query: str = ""
    ids: tuple[str, ...] = ()
    body: dict[str, Any] | None = None
    named: str = ""


@dataclass(frozen=True)
class Probe:
    """`label` is its line in the table. `settles`: what it begins must end before the next one."""

    label: str
    relation: str
    make: Callable[[World], Awaitable[Request]]


def plain(query: str = "", body: Callable[[World], dict[str, Any]] | None = None, label: str = "-") -> list[Probe]:
    """Asked without naming anything; once of an active org, once of a suspended one."""

    async def make(world: World) -> Request:
        return Request(query, body=None if body is None else body(world))

    return [Probe(label, "own", make), Probe(f"{label} suspended", "suspended", make)]


def by_id(kind: str, query: str = "", body: Callable[[World], dict[str, Any]] | None = None) -> list[Probe]:
    """The object that the path names."""

    def probe(relation: str) -> Probe:
        async def make(world: World) -> Request:
            named = await world.object(kind, relation)
            return Request(query, (named,), None if body is None else body(world), named)

        return Probe(f"id={relation}", relation, make)

    return [probe(relation) for relation in EVERY]


def by_query(parameter: str, kind: str, also: str = "") -> list[Probe]:
    """The object that a query parameter names. `also` may say {company}: that of the relation `own`."""

    def probe(relation: str) -> Probe:
        async def make(world: World) -> Request:
            named = await world.object(kind, relation)
            company = world.place_of("suspended" if relation == "suspended" else "own").company
            return Request(f"{parameter}={named}{also.format(company=company)}", named=named)

        return Probe(f"{parameter}={relation}", relation, make)

    return [probe(relation) for relation in EVERY]


def by_body(field: str, kind: str, body: Callable[[World, str], dict[str, Any]], label: str = "") -> list[Probe]:
    """The object that a field of the body names."""

    def probe(relation: str) -> Probe:
        async def make(world: World) -> Request:
            named = await world.object(kind, relation)
            return Request(body=body(world, named), named=named)

        return Probe(f"{label or field}={relation}", relation, make)

    return [probe(relation) for relation in EVERY]


def of(
    kind: str, label: str, relations: Sequence[str], body: Callable[[str], dict[str, Any]] | None = None
) -> list[Probe]:
    """The platform's own things about an org: there staff may reach every org, so the victim's is left alone."""

    def probe(relation: str) -> Probe:
        async def make(world: World) -> Request:
            named = await world.object(kind, relation)
            return Request(body=body(named), named=named) if body else Request(ids=(named,), named=named)

        return Probe(f"{label}={relation}", relation, make)

    return [probe(relation) for relation in relations]


def company_list(*filters: tuple[str, str]) -> list[Probe]:
    """A list that must not mix companies by accident: unasked, all, by company; then by each filter."""
    made = plain() + plain("all_companies=true", label="all") + by_query("company_id", "company")
    for parameter, kind in filters:
        made += by_query(parameter, kind, "&company_id={company}")
    return made


def inner_list(*filters: tuple[str, str]) -> list[Probe]:
    """The same at its owner, where the scope comes in the context."""
    return active(plain()) + [probe for parameter, kind in filters for probe in active(by_query(parameter, kind))]


def copied(table: str, *, own: bool = False) -> list[Probe]:
    """The first page of a table; of an owner's also for one company, which is no copy; and of a table that is not handed out."""

    def ways(label: str, query: str, named: str) -> list[Probe]:
        def probe(relation: str) -> Probe:
            async def make(world: World) -> Request:
                company = world.place_of(relation).company
                return Request(query.format(company=company), (named,))

            return Probe(label if relation == "own" else f"{label} {relation}", relation, make)

        return [probe("own"), probe("suspended")]

    found = ways("-", "limit=1000", table) + ways("no such table", "", "org_states")
    if own:
        return found
    return (
        found + ways("all", "limit=1000&all_companies=true", table) + ways("one company", "company_id={company}", table)
    )


def active(probes: Sequence[Probe]) -> list[Probe]:
    """Without suspended orgs, of which an owner knows nothing."""
    return [probe for probe in probes if probe.relation != "suspended"]


def _granted(world: World, company: str, role: str = "company_viewer") -> dict[str, Any]:
    return {"name": f"made {world.unique()}", "role": role, "company_ids": [company] if company else []}


def _user(world: World, company: str, role: str = "company_viewer") -> dict[str, Any]:
    named = {"subject": f"idp|made-{world.unique()}", "email": "made@example.com"}
    return _granted(world, company, role) | named


def _account(world: World, company: str) -> dict[str, Any]:
    return world.providers.account("smartlead", world.a.own.canary, company) | {"name": "made"}


def _named(world: World) -> dict[str, Any]:
    return {"name": f"made {world.unique()}"}


def _with_role(make: Callable[[World, str, str], dict[str, Any]], role: str) -> list[Probe]:
    return plain(body=lambda world: make(world, "", role), label=f"role={role}")


def _run(world: World, account: str) -> dict[str, Any]:
    return {"account_id": account, "dry_run": True}


def _run_of_campaign(world: World, campaign: str) -> dict[str, Any]:
    return {"account_id": world.a.own.ids["account"], "campaign_id": campaign, "dry_run": True}


def _release(world: World, delivery: str) -> dict[str, Any]:
    return {"delivery_ids": [delivery]}


def _again(_: World, delivery: str) -> dict[str, Any]:
    unsaid = ("account_id", "endpoint_id", "received_from", "received_until", "after")
    return {"delivery_ids": [delivery], "reason": "the matrix", "dry_run": True} | dict.fromkeys(unsaid)


def _scheduled(world: World, account: str) -> dict[str, Any]:
    return {"account_id": account, "interval_seconds": INTERVAL_SECONDS}


def _slots() -> list[Probe]:
    """The slot that is due, of the schedule that the path names."""

    def probe(relation: str) -> Probe:
        async def make(world: World) -> Request:
            named = await world.object("schedule", relation)
            slot = world.place_of(relation).slot
            return Request(ids=(named, slot), named=named)

        return Probe(f"id={relation}", relation, make)

    return [probe(relation) for relation in EVERY]


def _assumed(organization: str) -> dict[str, Any]:
    return {"organization_id": organization, "reason": "a cell of the matrix", "minutes": 1}


def _rename(world: World) -> dict[str, Any]:
    return {"name": f"renamed {world.unique()}"}


def _rotate(_: World) -> dict[str, Any]:
    return {"overlap_seconds": 0}  # with any other a second one is refused while the first is under way


def _observe(_: World) -> dict[str, Any]:
    return {"revision": 0, "source_mode": "observe"}  # nothing has this revision: who may change it, is told so


def _campaign(_: World, account: str) -> dict[str, Any]:
    return {"account_id": account, "name": "made"}


def _steps(_: World) -> dict[str, Any]:
    return {"steps": [{"delay_days": 0, "variants": [{"subject": "made", "body_html": "<p>made</p>"}]}]}


def _leads(_: World) -> dict[str, Any]:
    return {"leads": [{"email": "made@example.com", "profile_url": "https://www.linkedin.com/in/made-example"}]}


def _of_lead(kind: str, lead: str) -> list[Probe]:
    """A lead in its own company's campaign, then each lead in one's own."""

    def probe(relation: str, *, own_campaign: bool) -> Probe:
        async def make(world: World) -> Request:
            campaign = await world.object(kind, "own" if own_campaign else relation)
            named = await world.object(lead, relation)
            return Request(ids=(campaign, named), named=named)

        return Probe(f"{'own campaign, ' * own_campaign}lead={relation}", relation, make)

    alone = [probe(relation, own_campaign=False) for relation in ("own", "sibling", "archived", "suspended")]
    return alone + [probe(relation, own_campaign=True) for relation in ("sibling", *HIDDEN)]


def _changes(channel: str, kinds: str, sequence: Callable[[World], dict[str, Any]]) -> dict[str, list[Probe]]:
    """All that changes campaigns of a channel or reads them from their provider, by what follows `…/campaigns`."""
    account, campaign, lead = (f"{kinds}{kind}" for kind in ("account", "campaign", "lead"))
    words = ("start", "pause", "resume", "stop")
    return {
        f"POST /{channel}/campaigns": by_body("account", account, _campaign),
        f"PATCH /{channel}/campaigns/{{id}}": by_id(campaign, body=lambda _: {"new_leads_per_day": 7}),
        f"PUT /{channel}/campaigns/{{id}}/sequence": by_id(campaign, body=sequence),
        **{f"POST /{channel}/campaigns/{{id}}/{word}": by_id(campaign) for word in words},
        **{f"GET /{channel}/campaigns/{{id}}/{what}": by_id(campaign) for what in ("statistics", "sequence")},
        **{
            f"POST /{channel}/campaigns/{{id}}/{what}/refreshes": by_id(campaign) for what in ("statistics", "sequence")
        },
        f"POST /{channel}/campaigns/{{id}}/leads": by_id(campaign, body=_leads),
        f"POST /{channel}/campaigns/{{id}}/leads/{{lead}}/pause": _of_lead(campaign, lead),
        f"POST /{channel}/campaigns/{{id}}/leads/{{lead}}/resume": _of_lead(campaign, lead),
        f"POST /{channel}/campaigns/{{id}}/leads/{{lead}}/stop": _of_lead(campaign, lead),
        f"DELETE /{channel}/campaigns/{{id}}/leads/{{lead}}": _of_lead(campaign, lead),
    }


def _decision(_: World) -> dict[str, Any]:
    return {"outcome": "done", "note": "made"}


_AT_PROVIDERS = {
    **_changes("email", "", _steps),
    **_changes("linkedin", "linkedin_", lambda _: {"first": {"kind": "end"}}),
    "POST /inbox/conversations/{id}/replies": by_id("mail_conversation", body=lambda _: {"text": "made"}),
    "GET /operations/{id}": by_id("operation"),
    "POST /operations/{id}/cancel": by_id("pending"),
    "POST /operations/{id}/resolve": by_id("operation", body=_decision),
}


def _inner(route: str) -> str:
    """The names that the owner's routes have in their place."""
    what = "operation_id" if "/operations" in route else "conversation_id" if "/inbox" in route else "campaign_id"
    return route.replace("{id}", f"{{{what}}}").replace("{lead}", "{lead_id}")


# A table of each owner with something of both companies.
_COPIED = {
    "analytics": "facts",
    "provider-sync": "messages",
    "reconciliation": "runs",
    "webhook-ingest": "deliveries",
}


def _inner_copied(owner: str) -> dict[str, list[Probe]]:
    """The owner has the companies from the context."""
    return {
        "GET /exports": inner_list(),
        f"GET /exports/{owner}/{{table}}": active(copied(_COPIED[owner], own=True)),
    }


def _replay(process: str, named: str) -> dict[str, Any]:
    unsaid = ("consumer", "event_type", "error_class", "state", "account_id", "provider", "campaign", "failed_from")
    said = {"service": process, "group_ids": [named], "letter_ids": [], "everything": False, "max": 1000}
    return said | dict.fromkeys((*unsaid, "failed_until"))


def _failing(process: str) -> dict[str, list[Probe]]:
    """Dead letters and replays of one service, as its own routes have them."""
    group, letter, replay = (f"{kind}@{process}" for kind in ("group", "letter", "replay"))
    named = f"service={process}"
    return {
        "GET /dead-letter-groups": plain(named),
        "GET /dead-letter-groups/{group_id}": by_id(group),
        # No group has this revision: who may change it, is told so.
        "PATCH /dead-letter-groups/{group_id}": by_id(group, body=lambda _: {"revision": 0, "status": "acknowledged"}),
        "GET /dead-letters/{letter_id}": by_id(letter),
        # It has other bytes: who may edit, is told so.
        "POST /dead-letters/{letter_id}/edits": by_id(
            letter, body=lambda _: {"sha256": "0" * 64, "data": {}, "reason": "the matrix"}
        ),
        "POST /replays": by_body("group", group, lambda _, named: _replay(process, named)),
        "GET /replays": plain(named),
        "GET /replays/{replay_id}": by_id(replay),
        # It was aborted: who may, is told that it is over.
        "POST /replays/{replay_id}/dry-run": by_id(replay),
        "POST /replays/{replay_id}/apply": by_id(replay, body=lambda _: {"hash": "0" * 64, "reason": "the matrix"}),
        **{f"POST /replays/{{replay_id}}/{word}": by_id(replay) for word in ("pause", "resume", "abort")},
    }


GATEWAY: dict[str, list[Probe]] = {
    "GET /v1/me": plain(),
    "POST /v1/organizations": plain(body=_named),
    "GET /v1/organizations": plain(),
    "GET /v1/organizations/{organization}": by_id("organization"),
    # Without the body that they want, or the first who may would end the world that all others are asked in.
    "POST /v1/organizations/{organization}/suspend": by_id("organization", body=lambda _: {}),
    "POST /v1/organizations/{organization}/resume": by_id("organization", body=lambda _: {}),
    "DELETE /v1/organizations/{organization}": by_id("organization", body=lambda _: {}),
    "GET /v1/organizations/{organization}/erasure": by_id("organization"),
    "POST /v1/companies": plain(body=_named),
    "GET /v1/companies": plain(),
    "POST /v1/companies/{company}/archive": by_id("new_company"),
    "POST /v1/api-keys": by_body("company", "company", _granted)
    + _with_role(_granted, "org_admin")
    + _with_role(_granted, "super_admin"),
    "GET /v1/api-keys": plain(),
    "DELETE /v1/api-keys/{key}": by_id("key"),
    "POST /v1/api-keys/{key}/rotations": by_id("key", body=lambda _: {"overlap_seconds": 0}),
    "POST /v1/users": by_body("company", "company", _user)
    + _with_role(_user, "org_admin")
    + _with_role(_user, "super_admin"),
    "GET /v1/users": plain(),
    "GET /v1/users/{user}": by_id("user"),
    "PATCH /v1/users/{user}": by_id("user", body=_rename),
    "DELETE /v1/users/{user}": by_id("user"),
    "POST /v1/assumptions": of("organization", "organization", ("own", "nobody", "suspended"), body=_assumed),
    "GET /v1/assumptions": plain(),
    "DELETE /v1/assumptions/{assumption}": of("assumption", "id", ("own", "nobody", "suspended")),
    "GET /v1/audit-log": plain("limit=100"),
    "GET /v1/dead-letters": plain(),
    # Forwarded
    "POST /v1/provider-accounts": by_body("company", "company", _account),
    "GET /v1/provider-accounts": plain() + plain("all_companies=true", label="all") + by_query("company_id", "company"),
    "GET /v1/provider-accounts/{id}": by_id("account"),
    "GET /v1/provider-accounts/{id}/sync-strategy": by_id("account"),
    "POST /v1/provider-accounts/{id}/test": by_id("account"),
    "POST /v1/provider-accounts/{id}/syncs": by_id("account", body=lambda _: {}),
    "GET /v1/sync-runs": plain() + by_query("account_id", "account"),
    "GET /v1/sync-runs/{id}": by_id("sync_run"),
    "GET /v1/email/campaigns/{id}/sync-health": by_id("campaign"),
    "GET /v1/linkedin/campaigns/{id}/sync-health": by_id("linkedin_campaign"),
    "GET /v1/webhook-endpoints": plain() + plain("all_companies=true", label="all") + by_query("company_id", "company"),
    "GET /v1/webhook-endpoints/{id}": by_id("endpoint"),
    "PATCH /v1/webhook-endpoints/{id}": by_id("endpoint", body=_observe),
    "POST /v1/webhook-endpoints/{id}/rotations": by_id("endpoint", body=_rotate),
    "POST /v1/webhook-endpoints/{id}/verify": by_id("registered_endpoint"),
    "POST /v1/webhook-endpoints/{id}/releases": by_id("endpoint"),
    "PATCH /v1/provider-accounts/{id}": by_id("account", body=_rename),
    "GET /v1/email/campaigns": company_list(),
    "GET /v1/email/campaigns/{id}": by_id("campaign"),
    "GET /v1/linkedin/campaigns": company_list(),
    "GET /v1/linkedin/campaigns/{id}": by_id("linkedin_campaign"),
    "GET /v1/leads": company_list(("campaign_id", "campaign")),
    "GET /v1/leads/{id}": by_id("lead"),
    "GET /v1/inbox/conversations": company_list(("campaign_id", "campaign")),
    "GET /v1/inbox/conversations/{id}": by_id("conversation"),
    "GET /v1/inbox/conversations/{id}/messages": by_id("conversation"),
    "GET /v1/operations": plain() + by_query("account_id", "account"),
    **{route.replace(" /", " /v1/"): asked for route, asked in _AT_PROVIDERS.items()},
    "GET /v1/analytics/campaigns": company_list(("campaign_id", "campaign"), ("account_id", "account")),
    "GET /v1/analytics/sequence-steps": company_list(("campaign_id", "campaign"), ("account_id", "account")),
    "GET /v1/analytics/ledger": plain(),
    "POST /v1/reconciliations": by_body("account", "account", _run)
    + by_body("campaign", "campaign", _run_of_campaign, "own account, campaign"),
    "GET /v1/reconciliations": plain() + by_query("account_id", "account") + by_query("campaign_id", "campaign"),
    "GET /v1/reconciliations/{id}": by_id("run"),
    "GET /v1/reconciliations/{id}/drifts": by_id("run"),
    "POST /v1/reconciliation-schedules": by_body("account", "spare", _scheduled),
    "GET /v1/reconciliation-schedules": plain(),
    "GET /v1/reconciliation-schedules/{id}": by_id("schedule"),
    "PATCH /v1/reconciliation-schedules/{id}": by_id("schedule", body=lambda _: {"revision": 1, "enabled": True}),
    "DELETE /v1/reconciliation-schedules/{id}": by_id("schedule"),
    "GET /v1/reconciliation-schedules/{id}/slots": by_id("schedule"),
    "PUT /v1/reconciliation-schedules/{id}/slots/{slot}": _slots(),
    "GET /v1/deliveries": plain(),
    "GET /v1/deliveries/{id}": by_id("delivery"),
    "POST /v1/deliveries/releases": by_body("delivery", "delivery", _release),
    "POST /v1/deliveries/replays": by_body("delivery", "delivery", _again),
    "GET /v1/exports": plain(),
    "GET /v1/exports/gateway/{table}": copied("users", own=True),
    **{f"GET /v1/exports/{owner}/{{table}}": copied(table) for owner, table in _COPIED.items()},
    **{
        re.sub(r"\{\w+\}", "{id}", route.replace(" /", " /v1/")): asked
        for route, asked in _failing("provider-sync").items()
    },
}


def _active_failing(process: str) -> dict[str, list[Probe]]:
    return {route: active(asked) for route, asked in _failing(process).items()}


OWNERS: dict[str, dict[str, list[Probe]]] = {
    "provider-sync": {
        "POST /provider-accounts": active(by_body("company", "company", _account)),
        "GET /provider-accounts": inner_list(),
        "GET /provider-accounts/{account_id}": active(by_id("account")),
        "GET /provider-accounts/{account_id}/sync-strategy": active(by_id("account")),
        "POST /provider-accounts/{account_id}/test": active(by_id("account")),
        "POST /provider-accounts/{account_id}/syncs": active(by_id("account", body=lambda _: {})),
        "GET /sync-runs": inner_list(("account_id", "account")),
        "GET /sync-runs/{run_id}": active(by_id("sync_run")),
        "GET /email/campaigns/{campaign_id}/sync-health": active(by_id("campaign")),
        "GET /linkedin/campaigns/{campaign_id}/sync-health": active(by_id("linkedin_campaign")),
        "GET /webhook-endpoints": inner_list(),
        "GET /webhook-endpoints/{endpoint_id}": active(by_id("endpoint")),
        "PATCH /webhook-endpoints/{endpoint_id}": active(by_id("endpoint", body=_observe)),
        "POST /webhook-endpoints/{endpoint_id}/rotations": active(by_id("endpoint", body=_rotate)),
        "POST /webhook-endpoints/{endpoint_id}/verify": active(by_id("registered_endpoint")),
        "POST /webhook-endpoints/{endpoint_id}/releases": active(by_id("endpoint")),
        "PATCH /provider-accounts/{account_id}": active(by_id("account", body=_rename)),
        "GET /email/campaigns": inner_list(),
        "GET /email/campaigns/{campaign_id}": active(by_id("campaign")),
        "GET /linkedin/campaigns": inner_list(),
        "GET /linkedin/campaigns/{campaign_id}": active(by_id("linkedin_campaign")),
        "GET /leads": inner_list(("campaign_id", "campaign")),
        "GET /leads/{lead_id}": active(by_id("lead")),
        "GET /inbox/conversations": inner_list(("campaign_id", "campaign")),
        "GET /inbox/conversations/{conversation_id}": active(by_id("conversation")),
        "GET /inbox/conversations/{conversation_id}/messages": active(by_id("conversation")),
        **{_inner(route): active(asked) for route, asked in _AT_PROVIDERS.items()},
        **_inner_copied("provider-sync"),
        **_active_failing("provider-sync"),
    },
    "analytics": {
        "GET /analytics/campaigns": inner_list(("campaign_id", "campaign"), ("account_id", "account")),
        "GET /analytics/sequence-steps": inner_list(("campaign_id", "campaign"), ("account_id", "account")),
        "GET /analytics/ledger": inner_list(),
        **_inner_copied("analytics"),
        **_active_failing("analytics"),
    },
    "reconciliation": {
        "POST /reconciliations": active(by_body("account", "account", _run)),
        "GET /reconciliations": inner_list(("account_id", "account"), ("campaign_id", "campaign")),
        "GET /reconciliations/{run_id}": active(by_id("run")),
        "GET /reconciliations/{run_id}/drifts": active(by_id("run")),
        "POST /reconciliation-schedules": active(by_body("account", "spare", _scheduled)),
        "GET /reconciliation-schedules": inner_list(),
        "GET /reconciliation-schedules/{schedule_id}": active(by_id("schedule")),
        "PATCH /reconciliation-schedules/{schedule_id}": active(
            by_id("schedule", body=lambda _: {"revision": 1, "enabled": True})
        ),
        "DELETE /reconciliation-schedules/{schedule_id}": active(by_id("schedule")),
        "GET /reconciliation-schedules/{schedule_id}/slots": active(by_id("schedule")),
        "PUT /reconciliation-schedules/{schedule_id}/slots/{slot}": active(_slots()),
        **_inner_copied("reconciliation"),
        **_active_failing("reconciliation"),
    },
    "webhook-ingest": {
        "GET /deliveries": inner_list(),
        "GET /deliveries/{delivery_id}": active(by_id("delivery")),
        "POST /deliveries/releases": active(by_body("delivery", "delivery", _release)),
        "POST /deliveries/replays": active(by_body("delivery", "delivery", _again)),
        **_inner_copied("webhook-ingest"),
        **_active_failing("webhook-ingest"),
    },
}

# Operations whose answers repeat what callers wrote before: there, ids of others are no disclosure.
REPEATS_CALLERS = {"GET /v1/audit-log"}

# Who copies an organization's data changes none of it, and is written down all the same.
TOLD = re.compile(r"GET (/v1)?/exports/")

# Who sees what is hidden from everybody else: platform staff, which organizations there are.
SEES_ALL = {("GET /v1/organizations/{organization}", staff) for staff in ("sup", "sop")}


def _door() -> list[Probe]:
    def probe(label: str, relation: str, path: Callable[[World], str]) -> Probe:
        async def make(world: World) -> Request:
            # The body is the first of its kind each time, or it would be a duplicate, which is stored too, but not told.
            return Request(ids=tuple(path(world).split("/")), body={"event_type": "EMAIL_SENT", "n": world.unique()})

        return Probe(label, relation, make)

    def url(world: World, relation: str) -> str:
        return world.place_of(relation).endpoint_url.split("/webhooks/")[1]

    def changed(text: str) -> str:
        return text[:-1] + ("A" if text[-1] != "A" else "B")

    return [
        probe("token=own", "own", lambda world: url(world, "own")),
        probe("token=sibling", "sibling", lambda world: url(world, "sibling")),
        probe("token=archived", "archived", lambda world: url(world, "archived")),
        probe("token=suspended", "suspended", lambda world: url(world, "suspended")),
        probe("token of another provider", "own", lambda world: "heyreach/" + url(world, "own").split("/")[1]),
        probe("wrong secret, own", "own", lambda world: changed(url(world, "own"))),
        probe("wrong secret, other", "other", lambda world: changed(url(world, "other"))),
        probe("endpoint of nobody", "nobody", lambda world: re.sub(r"/[0-9a-f]{32}_", f"/{'7' * 32}_", url(world, "own"))),
        probe("an API key", "own", lambda world: "smartlead/" + world.a.keys["admin"]),
    ]  # fmt: skip


DOOR: dict[str, list[Probe]] = {"POST /webhooks/{provider}/{token}": _door()}
HEALTH: dict[str, list[Probe]] = {f"GET /health/{check}": active(plain()) for check in ("live", "ready", "startup")}

# What nobody has made yet, so that a list which names it is empty for everybody.
EMPTY = {
    # Nothing is erased in this world; and an organization is nobody's sibling.
    ("GET /v1/organizations/{organization}/erasure", "id=own"),
    ("GET /v1/organizations/{organization}/erasure", "id=sibling"),
    ("GET /v1/organizations/{organization}", "id=sibling"),
    ("GET /v1/reconciliations", "campaign_id=own"),
    ("reconciliation GET /reconciliations", "campaign_id=own"),
}
