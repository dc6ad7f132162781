"""The first thing a request meets: forwarded routes go to their owner from here, all others to the gateway's own app.

This is the hot path, so it is plain ASGI: authenticate, authorize, sign, hand bytes on, hand bytes back.
"""

from __future__ import annotations

import re

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from libs.errors import Invalid, PlatformError
from libs.observability.logs import get_logger
from libs.tenancy.context import TenantContext
from libs.tenancy.signing import ContextSigner
from libs.web import problems
from libs.web.app import REQUEST_ID, RequestEdge
from libs.web.bodies import declared_length, read_body, read_json
from services.gateway.denials import Denials
from services.gateway.domain import split_scope
from services.gateway.forwarding import PREFIX, Forward, Table
from services.gateway.gate import Gate
from services.gateway.notes import begin
from services.gateway.owners import Answer, Headers, Inner, Owners, UpstreamTimeout, UpstreamUnavailable, signed

log = get_logger()

_PASSED_IN = frozenset({b"content-type", b"accept", b"idempotency-key", b"if-match", b"if-none-match", b"prefer"})
# The request id is on the answer anyway (the same one), and the length is counted anew.
_PASSED_OUT = frozenset(
    {
        b"content-type",
        b"retry-after",
        b"etag",
        b"location",
        b"cache-control",
        b"preference-applied",
        b"idempotent-replayed",
    }
)
# A 404 may be another tenant's object: we do not say which, and so cannot leave it out.
_REFUSED = frozenset({403, 404})
_PRINTABLE = re.compile(rb"[\t\x20-\x7e]*\Z")
_REQUEST_ID = REQUEST_ID.encode()


class Front:
    def __init__(
        self, own: ASGIApp, *, gate: Gate, signer: ContextSigner, owners: Owners, table: Table, denials: Denials
    ) -> None:
        self._denials = denials
        self._own = own
        self._gate = gate
        self._signer = signer
        self._owners = owners
        self._table = table
        self._edge = RequestEdge(self._forwarded)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._own(scope, receive, send)
            return
        scope, notes = begin(scope)

        async def send_with_notes(message: Message) -> None:
            if message["type"] == "http.response.start":
                if message["status"] in _REFUSED and notes.caller is not None:
                    await self._denials.note(notes.caller, message["status"], scope["method"], scope["path"])
                message = {**message, "headers": [*message.get("headers", []), *notes.headers]}
            await send(message)

        await self._route(scope, receive, send_with_notes)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Ids in our form are believed further in; out here anyone could have written one.
        if any(name == _REQUEST_ID for name, _ in scope["headers"]):
            scope = {**scope, "headers": [pair for pair in scope["headers"] if pair[0] != _REQUEST_ID]}
        forwards = self._table.find(scope["path"])
        if forwards is None:
            await self._own(scope, receive, send)
        else:
            scope["outrider.forwards"] = forwards
            await self._edge(scope, receive, send)

    async def _forwarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id: str = scope["request_id"]
        forwards = scope["outrider.forwards"]
        forward = forwards.get(scope["method"])
        if forward is None:
            refusal = problems.problem(
                405, "method_not_allowed", "this address takes other methods", request_id=request_id
            )
            refusal.headers["Allow"] = ", ".join(sorted(forwards))
            await refusal(scope, receive, send)
            return
        try:
            answer = await self._answer(forward, scope, receive, request_id)
        except ClientDisconnect:
            return
        except UpstreamTimeout as error:
            log.warning("owner_too_slow", owner=forward.owner, path=forward.path)
            await problems.problem(504, error.code, str(error), request_id=request_id)(scope, receive, send)
            return
        except PlatformError as error:
            if isinstance(error, UpstreamUnavailable):
                log.warning("owner_unavailable", owner=forward.owner, path=forward.path, reason=repr(error.__cause__))
            elif problems.status_of(error) == 500:
                log.error("request_failed", path=forward.path, exc_info=error)
            await problems.of_error(error, request_id)(scope, receive, send)
            return
        headers = [pair for pair in answer.headers if pair[0] in _PASSED_OUT]
        if answer.status >= 200 and answer.status not in (204, 304):
            headers.append((b"content-length", str(len(answer.body)).encode()))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, forward: Forward, scope: Scope, receive: Receive, request_id: str) -> Answer:
        caller = await self._gate.admit(scope)
        caller.require(forward.permission)
        org_id = caller.org()
        asked, query = split_scope(scope["query_string"])
        companies = await self._gate.scope_for(caller, asked, company_filter=forward.company_filter)
        context = TenantContext(caller.principal.name, org_id, companies, caller.permissions)
        body = await read_body(receive, declared_length(scope["headers"]))
        # Judged here once for all owners; they are handed the bytes.
        document = read_json(scope["headers"], body) if body else None
        owner = forward.owner_of(scope["path"], query, document)
        headers = _inward(scope) + signed(self._signer, context, owner, request_id)
        path = scope["path"].removeprefix(PREFIX)
        answer = await self._owners.ask(owner, Inner(forward.method, path, query, headers, body))
        if answer.status == 401:
            # Our signature, not the caller's key: the owner holds another public key, or a clock is wrong.
            log.error("owner_refused_context", owner=owner, path=forward.path)
            raise UpstreamUnavailable("the part of Outrider that holds these rows does not answer at the moment")
        return answer


def _inward(scope: Scope) -> Headers:
    headers = [pair for pair in scope["headers"] if pair[0] in _PASSED_IN]
    for name, value in headers:
        if not _PRINTABLE.match(value):
            raise Invalid(f"the header {name.decode()} may hold printable ASCII only")
    return headers
