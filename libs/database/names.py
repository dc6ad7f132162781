"""Names of roles and schemas. Roles belong to the whole server, so they carry the database's name."""

from __future__ import annotations

from urllib.parse import urlsplit

SERVICES = ("gateway", "webhook_ingest", "provider_sync", "reconciliation", "analytics")

# One process that plays all services moves events between their tables in one transaction; this login may become every
# service's dispatch role and nothing else.
STANDALONE = "standalone"


def database_name(url: str) -> str:
    return urlsplit(url).path.removeprefix("/")


def login_role(database: str, service: str) -> str:
    return f"{database}_{service}"


def dispatch_role(database: str, service: str) -> str:
    """The role without login that sees the service's messaging tables of all orgs."""
    return f"{database}_{service}_dispatch"


def process_name(service: str) -> str:
    """`provider_sync` -> `provider-sync`: how queues, sources and audiences write it."""
    return service.replace("_", "-")
