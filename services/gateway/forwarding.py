"""Which public paths are answered by which owner. The inner path is the public one without /v1."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import parse_qsl

PREFIX = "/v1"

# Each of them answers for its own dead letters and replays.
EVERY_OWNER = ("provider-sync", "analytics", "reconciliation", "webhook-ingest", "gateway")


@dataclass(frozen=True, slots=True)
class Forward:
    """`owner` is a process name. `company_filter`: a list that must not mix companies unless told so.

    Where every service has this route, `names_owner` says where a request names which: in the path's id (`rpl_analytics_…`),
    in the query's or the body's `service`. What names none goes to `owner`, which refuses it as it deserves.
    """

    method: str
    path: str
    owner: str
    permission: str
    company_filter: bool = False
    names_owner: Literal["id", "query", "body"] | None = None

    @property
    def owners(self) -> tuple[str, ...]:
        return (self.owner,) if self.names_owner is None else EVERY_OWNER

    def owner_of(self, path: str, query: bytes, body: Any) -> str:
        named: Any = None
        if self.names_owner == "id":
            named = next((part for part in path.split("/")[3].split("_")[1:2]), None)
        elif self.names_owner == "query":
            named = dict(parse_qsl(query.decode("latin-1"))).get("service")
        elif self.names_owner == "body" and isinstance(body, dict):
            named = body.get("service")
        return named if isinstance(named, str) and named in self.owners else self.owner


def _of_failures() -> tuple[Forward, ...]:
    """Dead letters and replays, of whichever service."""
    routes: tuple[tuple[str, str, str, Literal["id", "query", "body"]], ...] = (
        ("GET", "/v1/dead-letter-groups", "dead_letters:read", "query"),
        ("GET", "/v1/dead-letter-groups/{id}", "dead_letter_bodies:read", "id"),
        ("PATCH", "/v1/dead-letter-groups/{id}", "dead_letters:write", "id"),
        ("GET", "/v1/dead-letters/{id}", "dead_letter_bodies:read", "id"),
        ("POST", "/v1/dead-letters/{id}/edits", "dead_letters:write", "id"),
        ("POST", "/v1/replays", "replays:write", "body"),
        ("GET", "/v1/replays", "replays:read", "query"),
        ("GET", "/v1/replays/{id}", "replays:read", "id"),
        ("POST", "/v1/replays/{id}/dry-run", "replays:write", "id"),
        ("POST", "/v1/replays/{id}/apply", "replays:write", "id"),
        ("POST", "/v1/replays/{id}/pause", "replays:write", "id"),
        ("POST", "/v1/replays/{id}/resume", "replays:write", "id"),
        ("POST", "/v1/replays/{id}/abort", "replays:write", "id"),
    )
    return tuple(
        Forward(method, path, "provider-sync", permission, names_owner=where)
        for method, path, permission, where in routes
    )


def _changes_of_campaigns(channel: str) -> tuple[Forward, ...]:
    campaigns = f"/v1/{channel}/campaigns"
    words = [f"/{word}" for word in ("start", "pause", "resume", "stop")]
    of_campaigns = [
        ("POST", ""),
        ("PATCH", "/{id}"),
        ("PUT", "/{id}/sequence"),
        *(("POST", "/{id}" + w) for w in words),
    ]
    readings = ("statistics", "sequence")
    of_leads = [
        ("POST", "/{id}/leads"), ("POST", "/{id}/leads/{lead}/pause"), ("POST", "/{id}/leads/{lead}/resume"),
        ("POST", "/{id}/leads/{lead}/stop"), ("DELETE", "/{id}/leads/{lead}"),
    ]  # fmt: skip
    return (
        *(Forward(method, campaigns + path, "provider-sync", "campaigns:write") for method, path in of_campaigns),
        *(Forward(method, campaigns + path, "provider-sync", "leads:write") for method, path in of_leads),
        *(Forward("GET", f"{campaigns}/{{id}}/{what}", "provider-sync", "campaigns:read") for what in readings),
        *(Forward("POST", f"{campaigns}/{{id}}/{what}/refreshes", "provider-sync", "syncs:start") for what in readings),
    )


_OWNERS = ("analytics", "provider-sync", "reconciliation", "webhook-ingest")

FORWARDS: tuple[Forward, ...] = (
    Forward("POST", "/v1/provider-accounts", "provider-sync", "accounts:write"),
    Forward("GET", "/v1/provider-accounts", "provider-sync", "accounts:read"),
    Forward("GET", "/v1/provider-accounts/{id}", "provider-sync", "accounts:read"),
    Forward("GET", "/v1/provider-accounts/{id}/sync-strategy", "provider-sync", "accounts:read"),
    Forward("POST", "/v1/provider-accounts/{id}/test", "provider-sync", "accounts:write"),
    Forward("POST", "/v1/provider-accounts/{id}/syncs", "provider-sync", "syncs:start"),
    Forward("GET", "/v1/sync-runs", "provider-sync", "syncs:read"),
    Forward("GET", "/v1/sync-runs/{id}", "provider-sync", "syncs:read"),
    Forward("GET", "/v1/webhook-endpoints", "provider-sync", "accounts:read"),
    Forward("GET", "/v1/webhook-endpoints/{id}", "provider-sync", "accounts:read"),
    Forward("PATCH", "/v1/webhook-endpoints/{id}", "provider-sync", "accounts:write"),
    Forward("POST", "/v1/webhook-endpoints/{id}/rotations", "provider-sync", "accounts:write"),
    Forward("POST", "/v1/webhook-endpoints/{id}/verify", "provider-sync", "accounts:write"),
    Forward("POST", "/v1/webhook-endpoints/{id}/releases", "provider-sync", "accounts:write"),
    Forward("PATCH", "/v1/provider-accounts/{id}", "provider-sync", "accounts:write"),
    Forward("GET", "/v1/email/campaigns", "provider-sync", "campaigns:read", company_filter=True),
    Forward("GET", "/v1/email/campaigns/{id}", "provider-sync", "campaigns:read"),
    Forward("GET", "/v1/email/campaigns/{id}/sync-health", "provider-sync", "campaigns:read"),
    Forward("GET", "/v1/linkedin/campaigns", "provider-sync", "campaigns:read", company_filter=True),
    Forward("GET", "/v1/linkedin/campaigns/{id}", "provider-sync", "campaigns:read"),
    Forward("GET", "/v1/linkedin/campaigns/{id}/sync-health", "provider-sync", "campaigns:read"),
    Forward("GET", "/v1/leads", "provider-sync", "leads:read", company_filter=True),
    Forward("GET", "/v1/leads/{id}", "provider-sync", "leads:read"),
    Forward("GET", "/v1/inbox/conversations", "provider-sync", "inbox:read", company_filter=True),
    Forward("GET", "/v1/inbox/conversations/{id}", "provider-sync", "inbox:read"),
    Forward("GET", "/v1/inbox/conversations/{id}/messages", "provider-sync", "inbox:read"),
    *_changes_of_campaigns("email"),
    *_changes_of_campaigns("linkedin"),
    Forward("POST", "/v1/inbox/conversations/{id}/replies", "provider-sync", "inbox:write"),
    # An operation's id names its owner (`op_sync_…`). So far there is one, which answers what is none of its own.
    Forward("GET", "/v1/operations/{id}", "provider-sync", "operation_results:read"),
    Forward("POST", "/v1/operations/{id}/cancel", "provider-sync", "operations:write"),
    Forward("POST", "/v1/operations/{id}/resolve", "provider-sync", "operations:write"),
    Forward("GET", "/v1/analytics/campaigns", "analytics", "analytics:read", company_filter=True),
    Forward("GET", "/v1/analytics/sequence-steps", "analytics", "analytics:read", company_filter=True),
    Forward("GET", "/v1/analytics/ledger", "analytics", "ledger:read"),
    Forward("POST", "/v1/reconciliations", "reconciliation", "reconciliations:start"),
    Forward("GET", "/v1/reconciliations", "reconciliation", "reconciliations:read"),
    Forward("GET", "/v1/reconciliations/{id}", "reconciliation", "reconciliations:read"),
    Forward("GET", "/v1/reconciliations/{id}/drifts", "reconciliation", "drifts:read"),
    Forward("POST", "/v1/reconciliation-schedules", "reconciliation", "schedules:write"),
    Forward("GET", "/v1/reconciliation-schedules", "reconciliation", "schedules:read"),
    Forward("GET", "/v1/reconciliation-schedules/{id}", "reconciliation", "schedules:read"),
    Forward("PATCH", "/v1/reconciliation-schedules/{id}", "reconciliation", "schedules:write"),
    Forward("DELETE", "/v1/reconciliation-schedules/{id}", "reconciliation", "schedules:write"),
    Forward("GET", "/v1/reconciliation-schedules/{id}/slots", "reconciliation", "schedules:read"),
    Forward("PUT", "/v1/reconciliation-schedules/{id}/slots/{slot}", "reconciliation", "schedules:run"),
    Forward("GET", "/v1/deliveries", "webhook-ingest", "deliveries:read"),
    Forward("GET", "/v1/deliveries/{id}", "webhook-ingest", "delivery_bodies:read"),
    Forward("POST", "/v1/deliveries/releases", "webhook-ingest", "deliveries:release"),
    Forward("POST", "/v1/deliveries/replays", "webhook-ingest", "replays:write"),
    *(Forward("GET", f"/v1/exports/{owner}/{{table}}", owner, "exports:read") for owner in _OWNERS),
    *_of_failures(),
)

# Asked of every owner for one answer of the gateway's own.
GATHERED = tuple(Forward("GET", "/v1/exports", owner, "exports:read") for owner in _OWNERS)

# What an id may be made of: nothing that a client library or a proxy would rewrite (`..`, `%2f`).
_ID = "[0-9A-Za-z_-]{1,100}"
_MOMENT = "[0-9A-Za-z_-][0-9A-Za-z_:.+-]{0,99}"  # its owner knows better what a moment is; not `..`


def segment(name: str) -> str:
    """What may stand in a path where its template has `{name}`."""
    return _MOMENT if name == "slot" else _ID


class Table:
    def __init__(self, forwards: Iterable[Forward] = FORWARDS) -> None:
        by_path: dict[str, dict[str, Forward]] = {}
        for forward in forwards:
            by_path.setdefault(forward.path, {})[forward.method] = forward
        self._plain = {path: methods for path, methods in by_path.items() if "{" not in path}
        self._with_ids = [
            (re.compile(re.sub(r"\{(\w+)\}", lambda found: segment(found[1]), path)), methods)
            for path, methods in by_path.items()
            if "{" in path
        ]

    def find(self, path: str) -> Mapping[str, Forward] | None:
        """The forwards of this public path by method; None when it is none of theirs."""
        found = self._plain.get(path)
        if found is None:
            found = next((methods for pattern, methods in self._with_ids if pattern.fullmatch(path)), None)
        return found
