"""An owner's routes for copying an organization: what it hands out, and the pages of a table. See libs/messaging/exports.py.

The gateway has the same for its own tables, and puts the lists of all owners together.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from libs.clock import now, rfc3339
from libs.errors import Forbidden, NotFound
from libs.ids import OrgId, public_id
from libs.messaging.exports import Exports, Source
from libs.messaging.work import UnitOfWork
from libs.web.cursors import Cursors
from libs.web.tenant import InnerHop

PERMISSION = "exports:read"
MAX_LIMIT = 1000  # more than lists have: what is copied is copied whole, and a page's bytes are bounded besides

ExportLimit = Annotated[int, Query(ge=1, le=MAX_LIMIT)]
# A key of PostgreSQL's has 2,704 bytes at most, and base64 makes a third more of them.
ExportAfter = Annotated[str | None, Query(max_length=5000)]


class LeftOutColumn(BaseModel):
    column: str
    why: str


class ExportedTable(BaseModel):
    """`columns` in the order of a row. Times are RFC 3339 in UTC; bytes are base64, hashes hexadecimal."""

    owner: str
    table: str
    columns: list[str]
    left_out: list[LeftOutColumn]


class LeftOutTable(BaseModel):
    owner: str
    table: str
    why: str


class ExportList(BaseModel):
    """`data` is what can be copied, `left_out` what stays and why. Of every table of an organization one of them tells."""

    organization_id: str
    data: list[ExportedTable]
    left_out: list[LeftOutTable]
    as_of: datetime


class ExportPage(BaseModel):
    """Rows in the order of their key. `as_of` is the moment of this page: a copy is of all moments from first to last page."""

    data: list[dict[str, Any]]
    has_more: bool
    next_cursor: str | None
    as_of: datetime


Told = Callable[[str], Awaitable[None]]


def export_list(exports: Exports, org_id: OrgId) -> ExportList:
    """What the service decided about its tables."""
    return ExportList(
        organization_id=public_id("org", org_id),
        data=[
            ExportedTable(
                owner=exports.owner,
                table=name,
                columns=table.columns,
                left_out=[LeftOutColumn(column=column, why=why) for column, why in table.left_out.items()],
            )
            for name, table in exports.tables.items()
        ],
        left_out=[LeftOutTable(owner=exports.owner, table=name, why=why) for name, why in exports.left_out.items()],
        as_of=now(),
    )


async def export_page(
    work: UnitOfWork, cursors: Cursors, exports: Exports, table: str, *, after: str | None, limit: int, tell: Told
) -> Response:
    """A page of the org's rows of `table`: an ExportPage. `tell` puts into the audit log, once, that the table is copied.

    Raises:
        Forbidden: the caller is limited to companies; a copy is of the whole organization.
        NotFound: no such table is handed out here.
        Invalid: `after` is no cursor of this table and org.
    """
    if not work.session.scope.is_all:
        raise Forbidden("a copy is of the whole organization; this needs access to all of its companies")
    exported = exports.tables.get(table)
    if exported is None:
        raise NotFound("there is no table to copy by this name: GET /v1/exports lists them")
    source = await Source.of(work.session, table, exported)
    query = f"exports/{exports.owner}/{table}/{source.order}"
    position = cursors.read(after, org_id=work.org_id, query=query)
    as_of = now()
    read = await source.read(work.session, position, limit)
    if position is None:  # each further page needs a cursor, and those are given out here
        await tell(f"exports/{exports.owner}/{table}")
    following = cursors.write(read.position, org_id=work.org_id, query=query) if read.position else None
    rest = orjson.dumps({"has_more": following is not None, "next_cursor": following, "as_of": rfc3339(as_of)})
    body = b'{"data":[' + ",".join(read.lines).encode() + b"]," + rest[1:]
    return Response(body, media_type="application/json", headers={"Cache-Control": "no-store"})


def export_routes(hop: InnerHop, cursors: Cursors, exports: Exports) -> APIRouter:
    """`GET /exports`, which the gateway asks, and `GET /exports/{owner}/{table}`, which it forwards to."""
    router = APIRouter(prefix="/exports")

    @router.get("")
    async def listing(work: UnitOfWork = hop.work(PERMISSION)) -> ExportList:
        return export_list(exports, work.org_id)

    @router.get(f"/{exports.owner}/{{table}}", response_model=ExportPage)
    async def table_page(
        table: str, after: ExportAfter = None, limit: ExportLimit = 100, work: UnitOfWork = hop.work(PERMISSION)
    ) -> Response:
        async def tell(target: str) -> None:
            work.audit("export.begun", target)

        return await export_page(work, cursors, exports, table, after=after, limit=limit, tell=tell)

    return router
