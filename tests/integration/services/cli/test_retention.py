"""`outrider retention status`: what is kept how far, and that it says so when that is too far."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from typer.testing import CliRunner, Result

from libs.database.names import SERVICES
from services.cli.main import app


@pytest.fixture
def status(migrated, monkeypatch):
    for service in SERVICES:
        monkeypatch.setenv(f"{service.upper()}_DATABASE_URL", migrated.url(service))
    monkeypatch.setenv("PROVIDER_SYNC_CREDENTIAL_KEY", "0" * 64)

    async def run(*words: str) -> Result:
        return await asyncio.to_thread(lambda: CliRunner().invoke(app, ["retention", "status", *words]))

    return run


async def test_every_table_is_told_and_one_that_is_kept_too_long_is_named(status, migrated, make_org):
    told = await status("--json")
    assert told.exit_code == 0, told.output
    tables = {one["table"]: one for one in json.loads(told.stdout)["tables"]}
    assert set(tables) == {*(f"{service}.inbox" for service in SERVICES), "webhook_ingest.deliveries"}
    assert tables["gateway.inbox"]["keep_days"] == 30
    assert tables["webhook_ingest.deliveries"]["keep_days"] == 90

    admin = await asyncpg.connect(migrated.admin_url)
    try:
        await admin.execute(
            "INSERT INTO reconciliation.inbox (consumer, event_id, org_id, type, subject, state) "
            "VALUES ('c', reconciliation.id_at_v1($1), $2, 't', 's', 'done')",
            int((datetime.now(UTC) - timedelta(days=38)).timestamp() * 1000), make_org(),
        )  # fmt: skip
    finally:
        await admin.close()
    told = await status()
    assert told.exit_code == 1
    assert "reconciliation" in told.stderr
    assert "gateway" not in told.stderr
    assert [one["table"] for one in json.loads((await status("--json")).stdout)["tables"] if one["overdue"]] == [
        "reconciliation.inbox"
    ]
