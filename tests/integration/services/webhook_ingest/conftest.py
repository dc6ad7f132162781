"""A door on this test's database, and posts to it without a network."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg
import orjson
import pytest

from libs.contracts import envelope as envelopes
from libs.contracts.envelope import Envelope
from libs.contracts.event import registry, seal
from libs.contracts.events import WebhookEndpointChangedV1, WebhookReceivedV1
from libs.database.engine import Database
from libs.ids import OrgId, new_id
from libs.messaging.processor import Processor
from libs.providers.registry import PROVIDERS
from libs.web.app import make_app
from libs.web.sources import networks
from services.webhook_ingest import handlers
from services.webhook_ingest.committer import Commit, Committer
from services.webhook_ingest.consumers import consumers
from services.webhook_ingest.domain import Arrival
from services.webhook_ingest.endpoints import Endpoints
from services.webhook_ingest.front import Front

SOURCE = "webhook-ingest"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def problem(self) -> dict[str, Any]:
        return orjson.loads(self.body)  # type: ignore[no-any-return]

    @property
    def delivery_id(self) -> UUID:
        return UUID(hex=self.headers["x-request-id"].removeprefix("req_"))


async def until(holds: Callable[[], Awaitable[Any]]) -> None:
    """Wait for what nobody announces, at most 2 s."""
    async with asyncio.timeout(2):
        while not await holds():  # noqa: ASYNC110 - that is the point
            await asyncio.sleep(0.01)


async def ask(
    app: Any,
    path: str,
    chunks: Sequence[bytes] = (b"{}",),
    *,
    method: str = "POST",
    headers: Sequence[tuple[bytes, bytes]] = (),
    receive: Callable[[], Awaitable[Any]] | None = None,
    peer: str | None = None,
) -> Answer:
    """One request, its body in these chunks, from the address `peer`."""
    parts = list(chunks)
    sent: list[dict[str, Any]] = []

    async def next_part() -> dict[str, Any]:
        if not parts:
            await asyncio.Event().wait()  # a client that waits for its answer
        part = parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope: dict[str, Any] = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": list(headers),
    }
    scope["client"] = None if peer is None else (peer, 40_000)
    await app(scope, receive or next_part, send)
    if not sent:
        return Answer(0, {}, b"")
    return Answer(
        sent[0]["status"],
        {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]},
        b"".join(message.get("body", b"") for message in sent[1:]),
    )


@dataclass(frozen=True)
class Mailbox:
    """An endpoint as its provider knows it."""

    org_id: OrgId
    id: UUID
    account_id: UUID
    token: str
    provider: str = "smartlead"

    @property
    def path(self) -> str:
        return f"/webhooks/{self.provider}/{self.token}"

    def changed(self, revision: int = 1, **more: Any) -> Envelope:
        event = WebhookEndpointChangedV1.model_validate(
            {
                "endpoint_id": self.id,
                "account_id": self.account_id,
                "revision": revision,
                "provider": self.provider,
                "token_sha256": hashlib.sha256(self.token.encode()).hexdigest(),
                **more,
            }
        )
        return seal(event, source="provider-sync", org_id=self.org_id)


def mailbox(org_id: OrgId, provider: str = "smartlead") -> Mailbox:
    endpoint_id = new_id()
    return Mailbox(org_id, endpoint_id, new_id(), f"{endpoint_id.hex}_{secrets.token_urlsafe(32)}", provider)


@dataclass
class Door:
    """`commit` may be replaced: what the committer calls goes through it."""

    database: Database
    admin_url: str
    endpoints: Endpoints = field(init=False)
    committer: Committer = field(init=False)
    commit: Commit = field(init=False)
    commits: int = 0

    def __post_init__(self) -> None:
        self.commit = partial(handlers.keep_deliveries, database=self.database, source=SOURCE)
        self.build()

    def build(self, *, max_batch: int = 500, max_pending: int = 10_000, max_pending_bytes: int = 2**27) -> None:
        async def commit(arrivals: Sequence[Arrival]) -> None:
            self.commits += 1
            await self.commit(arrivals)

        async def ready() -> str:
            return ""

        self.endpoints = Endpoints(self.database)
        self.committer = Committer(
            commit, max_batch=max_batch, max_pending=max_pending, max_pending_bytes=max_pending_bytes
        )
        self.front = Front(
            make_app(SOURCE, ready=ready),
            endpoints=self.endpoints,
            committer=self.committer,
            providers=PROVIDERS,
            trusted_proxies=networks(["10.0.0.0/8"]),
        )

    @property
    def processor(self) -> Processor:
        return Processor(self.database, consumers()[0], SOURCE)

    async def open(self, *boxes: Mailbox) -> None:
        await self.processor.deliver([box.changed() for box in boxes])
        await self.endpoints.refresh()

    async def post(self, box: Mailbox, body: bytes, **more: Any) -> Answer:
        return await ask(self.front, box.path, [body], **more)

    async def rows(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        """What is really there, of all orgs, as the administrator sees it."""
        connection = await asyncpg.connect(self.admin_url, server_settings={"search_path": "webhook_ingest"})
        try:
            return list(await connection.fetch(sql, *arguments))
        finally:
            await connection.close()

    async def verdicts(self) -> dict[UUID, str]:
        return {row["id"]: row["verdict"] for row in await self.rows("SELECT id, verdict FROM deliveries")}

    async def told(self) -> list[WebhookReceivedV1]:
        """The deliveries in the outbox, in the order of their ids."""
        found = await self.rows("SELECT envelope FROM outbox WHERE type = 'webhook.received.v1' ORDER BY id")
        events = [registry.open(envelopes.read(row["envelope"])) for row in found]
        assert all(isinstance(event, WebhookReceivedV1) for event in events)
        return events  # type: ignore[return-value]


class Wire:
    """A way to the database that can be cut. `url` leads through it."""

    def __init__(self, url: str) -> None:
        self._at = urlsplit(url)
        self._open: set[asyncio.StreamWriter] = set()

    async def join(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", port)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = self._at._replace(netloc=f"{self._at.netloc.rpartition('@')[0]}@127.0.0.1:{self.port}").geturl()

    async def cut(self) -> None:
        self._server.close()
        for writer in list(self._open):
            writer.transport.abort()
        self._open.clear()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(self._at.hostname, self._at.port)
        self._open |= {writer, far_writer}
        await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()
        self._open.discard(writer)


@pytest.fixture
async def door(migrated: Any, database: Callable[[str], Database]) -> AsyncIterator[Door]:
    one = Door(database("webhook_ingest"), migrated.admin_url)
    yield one
    await one.committer.close()


@pytest.fixture
async def boxes(door: Door, make_org: Callable[[], OrgId]) -> tuple[Mailbox, Mailbox]:
    """Open endpoints of two orgs."""
    mine, theirs = mailbox(make_org()), mailbox(make_org())
    await door.open(mine, theirs)
    return mine, theirs


def sent(number: int, **more: Any) -> bytes:
    """A Smartlead EMAIL_SENT; equal numbers are one occurrence."""
    return orjson.dumps(
        {
            "event_type": "EMAIL_SENT",
            "event_timestamp": "2026-07-11T12:01:58.023Z",
            "campaign_id": 7,
            "stats_id": f"stats-{number}",
            "to_email": f"lead{number}@example.com",
            "sequence_number": 1,
            **more,
        }
    )
