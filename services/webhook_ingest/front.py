"""The door: an ASGI function in front of the FastAPI app, for a framework would cost more than the durable work.

`POST /webhooks/{provider}/{token}` answers 200 `{}` once the bytes are committed. Whatever refuses a token gives the same
404. Meaning is not judged here: what is no payload is kept, answered 200 and quarantined. No path is ever logged.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from uuid import UUID

import orjson
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from libs.clock import now
from libs.crash import crash_point
from libs.errors import NotFound, RequestError, TransientError
from libs.ids import new_id
from libs.observability import tracing
from libs.observability.logs import get_logger
from libs.providers.registry import Provider
from libs.web import problems
from libs.web.app import REQUEST_ID
from libs.web.bodies import declared_length, read_body
from libs.web.sources import Network, source_of
from services.webhook_ingest import domain
from services.webhook_ingest.committer import Committer, EndpointGone
from services.webhook_ingest.domain import Arrival, Endpoint, Token
from services.webhook_ingest.endpoints import Endpoints
from services.webhook_ingest.reading import read

PREFIX = "/webhooks/"

# provider / <the endpoint's id>_<secret of at least 256 bits>
_PATH = re.compile(r"/webhooks/([a-z][a-z0-9_-]{0,39})/(([0-9a-f]{32})_[A-Za-z0-9_-]{43,86})\Z")
_OK = b"{}"
_REQUEST_ID = REQUEST_ID.encode()

log = get_logger()


class WrongMethod(RequestError):
    code = "method_not_allowed"


def _not_found() -> NotFound:
    return NotFound("there is nothing at this address")


class Front:
    """`providers` by name; `app` answers everything that is not a webhook."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        endpoints: Endpoints,
        committer: Committer,
        providers: Mapping[str, Provider],
        trusted_proxies: Sequence[Network] = (),
    ) -> None:
        self._app = app
        self._endpoints = endpoints
        self._committer = committer
        self._providers = providers
        self._trusted_proxies = trusted_proxies

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
            except ClientDisconnect:
                return
            except WrongMethod as refusal:
                answer = problems.problem(405, refusal.code, str(refusal), request_id=request_id)
                answer.headers["allow"] = "POST"
            except RequestError as refusal:
                answer = problems.of_error(refusal, request_id)
                log.debug("webhook_refused", request_id=request_id, status=answer.status_code, code=refusal.code)
                if answer.status_code != 404:  # the rest of the request was not read
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
            raise WrongMethod("this address takes POST")
        provider, secret, endpoint_id = path.groups()
        headers: list[tuple[bytes, bytes]] = list(scope["headers"])
        body = await read_body(receive, declared_length(headers))
        endpoint, token = await self._opened(UUID(hex=endpoint_id), provider, hashlib.sha256(secret.encode()).digest())
        received_at = now()
        peer = scope.get("client")
        source = source_of(peer[0] if peer else None, headers, self._trusted_proxies)
        listed = endpoint.lists(source)
        kept = domain.kept_headers(headers)
        reading = read(self._providers, endpoint.provider, body)
        objection = domain.objection(endpoint, token, listed, received_at)
        arrival = Arrival(
            id=delivery_id,
            endpoint=endpoint,
            token_id=token.id,
            received_at=received_at,
            body=body,
            body_sha256=hashlib.sha256(body).digest(),
            headers=orjson.dumps(kept).decode(),
            signature_headers=self._signature_headers(endpoint.provider, kept),
            source=None if source is None else str(source),
            source_listed=listed,
            # What is objected to claims no dedupe key: it must not make a good delivery a repetition.
            dedupe_key=reading.dedupe_key if objection is None else None,
            event_type=reading.event_type or "",
            quarantine_reason=objection or reading.quarantine_reason,
            traceparent=tracing.current_traceparent(),
        )
        crash_point("ingest.read")
        try:
            await self._committer.keep(arrival)
        except EndpointGone:
            raise _not_found() from None
        crash_point("ingest.kept")

    async def _opened(self, endpoint_id: UUID, provider: str, token_sha256: bytes) -> tuple[Endpoint, Token]:
        for look in (False, True):
            if look:
                # Another replica may have learned of it a moment ago. All refusals wait for the same look: none stands out.
                await self._endpoints.look_again()
            endpoint = self._endpoints.find(endpoint_id)
            token = domain.opening(endpoint, provider, token_sha256, now())
            if token is not None:
                return endpoint, token
        raise _not_found()

    def _signature_headers(self, provider: str, kept: Mapping[str, str]) -> str | None:
        known = self._providers.get(provider)
        if known is None or known.signing is None:
            return None
        return domain.signature_headers(kept, known.signing.headers)
