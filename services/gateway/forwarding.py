"""Which public paths are answered by which owner. The inner path is the public one without /v1."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

PREFIX = "/v1"


@dataclass(frozen=True, slots=True)
class Forward:
    """`owner` is a process name. `company_filter`: a list that must not mix companies unless told so."""

    method: str
    path: str
    owner: str
    permission: str
    company_filter: bool = False


FORWARDS: tuple[Forward, ...] = (
    Forward("POST", "/v1/provider-accounts", "provider-sync", "accounts:write"),
    Forward("GET", "/v1/provider-accounts", "provider-sync", "accounts:read"),
    Forward("GET", "/v1/provider-accounts/{id}", "provider-sync", "accounts:read"),
    Forward("GET", "/v1/email/campaigns", "provider-sync", "campaigns:read", company_filter=True),
    Forward("GET", "/v1/email/campaigns/{id}", "provider-sync", "campaigns:read"),
    Forward("GET", "/v1/linkedin/campaigns", "provider-sync", "campaigns:read", company_filter=True),
    Forward("GET", "/v1/linkedin/campaigns/{id}", "provider-sync", "campaigns:read"),
    Forward("GET", "/v1/leads", "provider-sync", "leads:read", company_filter=True),
    Forward("GET", "/v1/leads/{id}", "provider-sync", "leads:read"),
    Forward("GET", "/v1/inbox/conversations", "provider-sync", "inbox:read", company_filter=True),
    Forward("GET", "/v1/inbox/conversations/{id}", "provider-sync", "inbox:read"),
    Forward("GET", "/v1/inbox/conversations/{id}/messages", "provider-sync", "inbox:read"),
    Forward("GET", "/v1/analytics/campaigns", "analytics", "analytics:read", company_filter=True),
    Forward("GET", "/v1/analytics/sequence-steps", "analytics", "analytics:read", company_filter=True),
    Forward("GET", "/v1/analytics/ledger", "analytics", "ledger:read"),
    Forward("POST", "/v1/reconciliations", "reconciliation", "reconciliations:start"),
    Forward("GET", "/v1/reconciliations", "reconciliation", "reconciliations:read"),
    Forward("GET", "/v1/reconciliations/{id}", "reconciliation", "reconciliations:read"),
    Forward("GET", "/v1/reconciliations/{id}/drifts", "reconciliation", "reconciliations:read"),
    Forward("GET", "/v1/deliveries", "webhook-ingest", "deliveries:read"),
    Forward("GET", "/v1/deliveries/{id}", "webhook-ingest", "deliveries:read"),
)

# What an id may be made of: nothing that a client library or a proxy would rewrite (`..`, `%2f`).
_SEGMENT = "[0-9A-Za-z_-]{1,100}"


class Table:
    def __init__(self, forwards: Iterable[Forward] = FORWARDS) -> None:
        by_path: dict[str, dict[str, Forward]] = {}
        for forward in forwards:
            by_path.setdefault(forward.path, {})[forward.method] = forward
        self._plain = {path: methods for path, methods in by_path.items() if "{" not in path}
        self._with_ids = [
            (re.compile(re.sub(r"\{\w+\}", _SEGMENT, path)), methods)
            for path, methods in by_path.items()
            if "{" in path
        ]

    def find(self, path: str) -> Mapping[str, Forward] | None:
        """The forwards of this public path by method; None when it is none of theirs."""
        found = self._plain.get(path)
        if found is None:
            found = next((methods for pattern, methods in self._with_ids if pattern.fullmatch(path)), None)
        return found
