"""The door: an ASGI function in front of the FastAPI app, for a framework would cost more than the durable work.

`POST /webhooks/{provider}/{token}` answers 200 `{}` once the bytes are committed. Whatever refuses a token gives the same
404. Meaning is not judged here: what is no payload is kept, answered 200 and quarantined. No path is ever logged.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Mapping
from uuid import UUID

from starlette.types import ASGIApp, Receive, Scope, Send

from libs.clock import now
from libs.errors import TransientError
from libs.ids import new_id
from libs.observability import tracing
from libs.observability.logs import get_logger
from libs.providers.capabilities import WebhookParsing
from libs.providers.sightings import DoorReading
from libs.web import problems
from libs.web.app import REQUEST_ID
from services.webhook_ingest import domain
from services.webhook_ingest.committer import Committer
from services.webhook_ingest.domain import Arrival, Endpoint
from services.webhook_ingest.endpoints import Endpoints

PREFIX = "/webhooks/"
MAX_BODY_BYTES = 1024 * 1024
MAX_HEADER_BYTES = 16 * 1024
READ_SECONDS = 10.0

# provider / <the endpoint's id>_<secret of at least 256 bits>
_PATH = re.compile(r"/webhooks/([a-z][a-z0-9_-]{0,39})/(([0-9a-f]{32})_[A-Za-z0-9_-]{43,86})\Z")
_DIGITS = re.compile(rb"[0-9]{1,15}\Z")
_OK = b"{}"
_REQUEST_ID = REQUEST_ID.encode()

log = get_logger()


class Refused(Exception):
    """The request is answered with this problem and nothing is kept."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.code = status, code


class ClientGone(Exception):
    """Nobody is left to answer."""


def _not_found() -> Refused:
    return Refused(404, "not_found", "there is nothing at this address")


class Front:
    """`readers` by provider name; `app` answers everything that is not a webhook."""

    def __init__(
        self, app: ASGIApp, *, endpoints: Endpoints, committer: Committer, readers: Mapping[str, WebhookParsing]
    ) -> None:
        self._app = app
        self._endpoints = endpoints
        self._committer = committer
        self._readers = readers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(PREFIX):
            await self._receive(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _receive(self, scope: Scope, receive: Receive, send: Send) -> None:
        # A provider's request id or trace context would let outsiders write into ours: both are made here. The delivery
        # has the request's number, so either finds the other.
        delivery_id = new_id()
        request_id = f"req_{delivery_id.hex}"
        with tracing.span("POST /webhooks/{provider}/***", tracing.SpanKind.SERVER):
            try:
                await self._keep(scope, receive, delivery_id)
            except ClientGone:
                return
            except Refused as refusal:
                log.debug("webhook_refused", request_id=request_id, status=refusal.status, code=refusal.code)
                answer = problems.problem(refusal.status, refusal.code, str(refusal), request_id=request_id)
                if refusal.status == 405:
                    answer.headers["allow"] = "POST"
                elif refusal.status != 404:  # the rest of the request was not read
                    answer.headers["connection"] = "close"
            except TransientError as error:
                detail = "the delivery was not stored; post it again later"
                answer = problems.problem(
                    503, error.code, detail, request_id=request_id, retry_after_seconds=error.retry_after_seconds
                )
            except Exception as error:
                log.error("request_failed", request_id=request_id, exc_info=error)
                detail = "something failed on our side; the request id finds it"
                answer = problems.problem(500, "internal", detail, request_id=request_id)
            else:
                await send(
                    {
                        "type": "http.response.start",
                        "status": 200,
                        "headers": [
                            (b"content-type", b"application/json"),
                            (b"content-length", b"2"),
                            (_REQUEST_ID, request_id.encode()),
                        ],
                    }
                )
                await send({"type": "http.response.body", "body": _OK})
                return
            answer.headers[REQUEST_ID] = request_id
            await answer(scope, receive, send)

    async def _keep(self, scope: Scope, receive: Receive, delivery_id: UUID) -> None:
        path = _PATH.match(scope["path"])
        if path is None:
            raise _not_found()
        if scope["method"] != "POST":
            raise Refused(405, "method_not_allowed", "this address takes POST")
        provider, token, endpoint_id = path.groups()
        headers: list[tuple[bytes, bytes]] = list(scope["headers"])
        body = await _read_body(receive, _declared_length(headers))
        endpoint = await self._opened(UUID(hex=endpoint_id), provider, hashlib.sha256(token.encode()).digest())
        reading = self._read(endpoint.provider, body)
        await self._committer.keep(
            Arrival(
                id=delivery_id,
                endpoint=endpoint,
                received_at=now(),
                body=body,
                body_sha256=hashlib.sha256(body).digest(),
                headers=domain.kept_headers(headers),
                dedupe_key=reading.dedupe_key,
                event_type=reading.event_type or "",
                quarantine_reason=reading.quarantine_reason,
                traceparent=tracing.current_traceparent(),
            )
        )

    async def _opened(self, endpoint_id: UUID, provider: str, token_sha256: bytes) -> Endpoint:
        endpoint = self._endpoints.find(endpoint_id)
        if domain.admits(endpoint, provider, token_sha256):
            return endpoint
        # Another replica may have learned of it a moment ago. All refusals wait for the same look: none stands out.
        await self._endpoints.look_again()
        endpoint = self._endpoints.find(endpoint_id)
        if domain.admits(endpoint, provider, token_sha256):
            return endpoint
        raise _not_found()

    def _read(self, provider: str, body: bytes) -> DoorReading:
        reader = self._readers.get(provider)
        if reader is None:
            return DoorReading(quarantine_reason=f"this build knows no provider {provider}")
        if fault := domain.structure_fault(body):
            return DoorReading(quarantine_reason=fault)
        try:
            return domain.storable(reader.read_at_door(body))
        except Exception as error:
            log.error("door_reading_failed", provider=provider, exc_info=error)
            return DoorReading(quarantine_reason="unreadable")


def _declared_length(headers: list[tuple[bytes, bytes]]) -> int | None:
    """The Content-Length, once all headers are found acceptable."""
    size, declared = 0, None
    for name, value in headers:
        size += len(name) + len(value)
        if name == b"content-length":
            if not _DIGITS.match(value) or (declared is not None and declared != int(value)):
                raise Refused(400, "bad_content_length", "Content-Length is not one number")
            declared = int(value)
        elif name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
            raise Refused(415, "content_encoding_unsupported", "send the body as it is: no Content-Encoding is taken")
    if size > MAX_HEADER_BYTES:
        raise Refused(431, "headers_too_large", f"the headers are over {MAX_HEADER_BYTES} bytes")
    if declared is not None and declared > MAX_BODY_BYTES:
        raise _too_large()
    return declared


def _too_large() -> Refused:
    return Refused(413, "too_large", f"the body is over {MAX_BODY_BYTES} bytes")


async def _read_body(receive: Receive, declared: int | None) -> bytes:
    try:
        async with asyncio.timeout(READ_SECONDS):
            return await _gather(receive, declared)
    except TimeoutError:
        pass
    raise Refused(408, "too_slow", f"the body did not arrive within {READ_SECONDS:.0f} s")


async def _gather(receive: Receive, declared: int | None) -> bytes:
    whole = bytearray()  # not a list of chunks: a million chunks of one byte would weigh 40 times theirs
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk: bytes = message.get("body", b"")
        size = len(whole) + len(chunk)
        if size > MAX_BODY_BYTES:
            raise _too_large()
        if not message.get("more_body", False):
            if declared is not None and declared != size:
                raise Refused(400, "bad_content_length", "the body has not the length that Content-Length says")
            return bytes(whole) + chunk if whole else chunk
        whole += chunk
