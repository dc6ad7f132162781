"""What every own route under /v1 has in common: the caller is known before a byte of the body is read, the body is not too
large, no query parameter is unknown, and what the route takes (a caller, a unit of work) was allowed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from fastapi import Depends, Request, Response
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import Query
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect

from libs.crash import crash_point
from libs.errors import Invalid
from libs.messaging.work import UnitOfWork, Units
from libs.web.bodies import declared_length, read_body, read_json
from services.gateway.domain import Caller
from services.gateway.gate import Gate

_CALLER = "outrider.caller"


def guarded_route(gate: Gate) -> type[APIRoute]:
    """The class of routes to which only callers of `gate` are let through."""

    class GuardedRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()
            known = sorted(
                field.alias for field in get_flat_params(self.dependant) if isinstance(field.field_info, Query)
            )

            async def guarded(request: Request) -> Response:
                request.scope[_CALLER] = await gate.admit(request.scope)
                _refuse_unknown(request, known)
                headers = request.scope["headers"]
                try:
                    request._body = await read_body(request.receive, declared_length(headers))
                except ClientDisconnect:
                    return Response(status_code=400)  # nobody hears it
                if request._body:
                    request._json = read_json(headers, request._body)
                return await handle(request)

            return guarded

    return GuardedRoute


def _refuse_unknown(request: Request, known: list[str]) -> None:
    unknown = next((name for name in request.query_params if name not in known), None)
    if unknown is not None:
        raise Invalid(
            f"unknown query parameter {unknown[:50]!r}; "
            + (f"known here are {', '.join(known)}" if known else "none is known here"),
            code="unknown_parameter",
            pointer=unknown[:50],
        )


def caller(permission: str | None = None, *, outside: bool = False) -> Any:
    """A parameter's default: the caller, who must have the permission; see `Caller.require` for `outside`."""

    def dependency(request: Request) -> Caller:
        found: Caller = request.scope[_CALLER]
        if permission is not None:
            found.require(permission, outside=outside)
        return found

    return Depends(dependency)


def work(units: Units, permission: str, *, platform: bool = False) -> Any:
    """A parameter's default: a unit of work in the caller's org and companies, committed before the answer is sent.

    With `platform`, staff who name no org work on the platform's own rows.
    """

    # A default, not Annotated: FastAPI reads annotations as text and could not see `permission` in it.
    async def dependency(who: Caller = caller(permission)) -> AsyncIterator[UnitOfWork]:
        async with units.begin(who.org(platform=platform), who.principal.scope) as unit:
            yield unit
        if unit.published:
            crash_point("gateway.committed")

    return Depends(dependency, scope="function")
