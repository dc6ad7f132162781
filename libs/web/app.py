"""The HTTP face of a service: FastAPI with our problems, request ids, traces and health; nothing that is a service's own."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Literal

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from libs.errors import PlatformError
from libs.ids import new_id
from libs.observability import tracing
from libs.observability.logs import get_logger
from libs.web import problems

REQUEST_ID = "x-request-id"
_GIVEN_ID = re.compile(r"req_[0-9a-f]{32}\Z")

_LONGEST_NAME = 100  # of a field: what was sent is echoed, but not at any length

log = get_logger()

# Answers why the service is not ready for work ("" when it is); must be quick.
Readiness = Callable[[], Awaitable[str]]


class Health(BaseModel):
    status: Literal["live", "ready"]


def make_app(service: str, *, ready: Readiness) -> FastAPI:
    """A FastAPI app with `/health/live`, `/health/ready`, `/health/startup` and our error answers."""
    app = FastAPI(title=f"Outrider {service}", docs_url=None, redoc_url=None, openapi_url=None)

    async def live() -> dict[str, str]:
        return {"status": "live"}

    async def is_ready(request: Request) -> Response:
        reason = await ready()
        if reason:
            return problems.problem(503, "not_ready", reason, request_id=request_id_of(request))
        return JSONResponse({"status": "ready"})

    app.add_api_route("/health/live", live, response_model=Health)
    app.add_api_route("/health/ready", is_ready, response_model=Health)
    app.add_api_route("/health/startup", is_ready, response_model=Health)
    app.add_exception_handler(PlatformError, _platform_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(Exception, _bug)
    app.add_middleware(RequestEdge)
    return app


def request_id_of(request: Request) -> str:
    return str(request.scope.get("request_id", ""))


async def _platform_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, PlatformError)
    if problems.status_of(error) == 500:
        log.error("request_failed", path=request.url.path, exc_info=error)
    return problems.of_error(error, request_id_of(request))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words = {
        404: ("not_found", "there is nothing at this address"),
        405: ("method_not_allowed", "this address takes other methods"),
    }
    code, detail = words.get(error.status_code, ("http_error", str(error.detail)))
    answer = problems.problem(error.status_code, code, detail, request_id=request_id_of(request))
    if error.status_code == 405:
        answer.headers["Allow"] = ", ".join(_methods(request))
    return answer


def _methods(request: Request) -> Iterator[str]:
    """Which methods the address takes. A route knows only its own, and several may share an address."""
    for method in ("DELETE", "GET", "PATCH", "POST", "PUT"):
        asked = {"type": "http", "method": method, "path": request.scope["path"], "root_path": "", "headers": []}
        if any(route.matches(asked)[0] is Match.FULL for route in request.app.router.routes):
            yield method


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [
        {
            "pointer": "/" + "/".join(str(part)[:_LONGEST_NAME] for part in one["loc"]),
            "code": str(one["type"]),
            "message": str(one["msg"]),
        }
        for one in error.errors()[:20]
    ]
    detail = f"{errors[0]['pointer']}: {errors[0]['message']}" if errors else "the request is not valid"
    return problems.problem(422, "invalid_request", detail, request_id=request_id_of(request), errors=errors)


async def _bug(request: Request, _: Exception) -> Response:
    return problems.problem(
        500, "internal", "something failed on our side; the request id finds it", request_id=request_id_of(request)
    )


class RequestEdge:
    """Outermost: gives each request its id and trace, binds both to the logs, and answers a bug with a problem.

    An id in our own form is the gateway's and is kept; anything else is replaced, so no caller can forge one into the logs.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        given = headers.get(REQUEST_ID.encode(), b"").decode("latin-1")
        request_id = given if _GIVEN_ID.match(given) else f"req_{new_id().hex}"
        scope["request_id"] = request_id
        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message.get("headers", []), (REQUEST_ID.encode(), request_id.encode())]
            await send(message)

        traceparent = headers.get(b"traceparent", b"").decode("latin-1")
        with (
            structlog.contextvars.bound_contextvars(request_id=request_id),
            tracing.span(f"{scope['method']} http", tracing.SpanKind.SERVER, causes=[traceparent]),
        ):
            try:
                await self._app(scope, receive, send_with_id)
            except Exception as error:
                log.error("request_failed", exc_info=error)
                if started:
                    raise
                answer = problems.problem(
                    500, "internal", "something failed on our side; the request id finds it", request_id=request_id
                )
                await answer(scope, receive, send_with_id)
