"""Letters are edited only where a deployment turned that on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import httpx
from fastapi import Depends

from libs.ids import new_id
from libs.settings import ServiceSettings
from libs.tenancy.context import ALL_COMPANIES
from libs.web.app import make_app
from libs.web.failure_routes import failure_routes, letter_id


class Anybody:
    """A hop that lets everybody in, to a session in which nothing may be asked."""

    def work(self, permission: str) -> Any:
        assert permission
        return Depends(lambda: SimpleNamespace(session=SimpleNamespace(scope=ALL_COMPANIES)))


async def test_where_nobody_turned_it_on_no_letter_is_edited() -> None:
    async def ready() -> str:
        return ""

    app = make_app("analytics", ready=ready)
    hop: Any = Anybody()
    cursors: Any = None
    app.include_router(failure_routes(hop, cursors, "analytics", may_edit=ServiceSettings().edit_dead_letters))
    body = {"sha256": "0" * 64, "data": {}, "reason": "x"}

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://inner.example.com") as client:
        answer = await client.post(f"/dead-letters/{letter_id('analytics.tenants', new_id())}/edits", json=body)

    assert (answer.status_code, answer.json()["code"]) == (403, "editing_is_off")
