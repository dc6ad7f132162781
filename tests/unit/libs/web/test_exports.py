"""Pages of a copy: for whom, and that the audit log is told of each table once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from libs.errors import Forbidden, Invalid
from libs.ids import CompanyId, OrgId, new_id
from libs.messaging.exports import Exported, Exports
from libs.tenancy.context import ALL_COMPANIES, CompanyScope
from libs.web import exports
from libs.web.cursors import Cursors
from libs.web.exports import export_page

NOTES = Exports("gateway", {"notes": Exported("org_id text")}, {})
CURSORS = Cursors("a key")


class TwoPages:
    order = "text"

    @classmethod
    async def of(cls, *_: Any) -> TwoPages:
        return cls()

    async def read(self, _: Any, position: list[Any] | None, limit: int) -> Any:
        return SimpleNamespace(lines=['{"text":"a"}'], position=["a"] if position is None else None)


def work(scope: CompanyScope) -> Any:
    return SimpleNamespace(session=SimpleNamespace(scope=scope), org_id=OrgId(new_id()))


async def test_who_is_limited_to_companies_copies_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    async def tell(target: str) -> None:
        told.append(target)

    monkeypatch.setattr(exports, "Source", TwoPages)
    for scope in (CompanyScope.of([CompanyId(new_id())]), CompanyScope.of([])):
        with pytest.raises(Forbidden):
            await export_page(work(scope), CURSORS, NOTES, "notes", after=None, limit=1, tell=tell)
    assert told == []


async def test_the_first_page_of_a_table_is_told_and_no_other_can_be_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    async def tell(target: str) -> None:
        told.append(target)

    monkeypatch.setattr(exports, "Source", TwoPages)
    mine, theirs = work(ALL_COMPANIES), work(ALL_COMPANIES)
    first = await export_page(mine, CURSORS, NOTES, "notes", after=None, limit=1, tell=tell)
    after = orjson.loads(bytes(first.body))["next_cursor"]
    await export_page(mine, CURSORS, NOTES, "notes", after=after, limit=1, tell=tell)
    with pytest.raises(Invalid):
        await export_page(theirs, CURSORS, NOTES, "notes", after=after, limit=1, tell=tell)

    assert told == ["exports/gateway/notes"]
