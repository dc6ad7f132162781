"""What must exist before services start: secrets, roles, schemas, the broker's topology, a first key."""

from __future__ import annotations

from pathlib import Path

import asyncpg

import libs.contracts.events  # noqa: F401 - fills the registry that the topology is made of
from libs.database.engine import Database, DatabaseUrl
from libs.database.migrate import migrate
from libs.database.names import SERVICES, STANDALONE, database_name, dispatch_role, login_role
from libs.settings import Secrets, with_login
from libs.tenancy.signing import new_private_key, public_key_of
from services.gateway.bootstrap import ensure_platform_key
from services.provider_sync.key_ring import new_key

PLATFORM_KEY = "platform-key"


async def prepare_database(admin_url: str, folder: Path | None = None) -> dict[str, str]:
    """Make what is missing of secrets, roles, schemas and tables; answers service -> revision. Safe to run again."""
    secrets = Secrets(folder)
    database = database_name(admin_url)
    roles = [login_role(database, service) for service in (*SERVICES, STANDALONE)]
    kept = secrets.ensure(f"role:{role}" for role in roles)
    secrets.ensure(["key_pepper", "cursor_key"])
    if secrets.get("credential_key") is None:  # a house of before there were several keeps its one
        secrets.ensure(["credential_keys"], new_key)
    private = secrets.ensure(["context_private_key"], new_private_key)["context_private_key"]
    secrets.set("context_public_key", public_key_of(private))
    secrets.set("database_address", with_login(admin_url, "nobody", "").replace("nobody:@", ""))
    return await migrate(admin_url, {role: kept[f"role:{role}"] for role in roles})


async def first_key(admin_url: str, folder: Path) -> str:
    """The platform's first key: made once, kept in a file that only its owner can read."""
    path = folder / PLATFORM_KEY
    secrets = Secrets(folder)
    name = database_name(admin_url)
    role = login_role(name, "gateway")
    url = with_login(admin_url, role, secrets.get(f"role:{role}") or "")
    database = Database(
        DatabaseUrl(url, "gateway"), service="gateway", dispatch_role=dispatch_role(name, "gateway"), pool_size=1
    )
    try:
        made = await ensure_platform_key(database, secrets.get("key_pepper") or "")
    finally:
        await database.close()
    if made is not None:
        path.touch(mode=0o600)
        path.write_text(made)
    return path.read_text()


async def create_database(server_url: str, name: str, *, anew: bool) -> None:
    """Make the database `name` on a server of ours; with `anew` one that exists is dropped first."""
    connection = await asyncpg.connect(server_url)
    try:
        if anew:
            await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name):
            await connection.execute(f'CREATE DATABASE "{name}"')
    finally:
        await connection.close()
