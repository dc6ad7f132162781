"""An owner's side of the inner hop: the signed context in, a unit of work for that tenant out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from fastapi import Depends, Request

from libs.errors import Forbidden
from libs.messaging.work import UnitOfWork, Units
from libs.tenancy.context import TenantContext
from libs.tenancy.signing import HEADER, ContextVerifier
from libs.web.app import request_id_of


class InnerHop:
    """Verifies callers and begins their units of work; a service's routes take both from here.

    `work: UnitOfWork = hop.work("campaigns:read")` in a route's parameters refuses a caller without that permission and
    gives a unit of work bound to the caller's org and companies. It is committed before the answer is sent.
    """

    def __init__(self, verifier: ContextVerifier, units: Units) -> None:
        self._verifier = verifier
        self._units = units

    def verified(self, permission: str) -> Callable[[Request], TenantContext]:
        def dependency(request: Request) -> TenantContext:
            context = self._verifier.verify(request.headers.get(HEADER))
            if not context.may(permission):
                raise Forbidden(f"this needs the permission {permission}")
            return context

        return dependency

    def context(self, permission: str) -> Any:
        """A parameter's default: the caller's context, without a transaction."""
        return Depends(self.verified(permission))

    def work(self, permission: str) -> Any:
        """A parameter's default: a unit of work. Scope "function": commit first, answer after; a 2xx is never a guess."""
        verified = self.verified(permission)

        async def dependency(request: Request, context: TenantContext = Depends(verified)) -> AsyncIterator[UnitOfWork]:
            async with self._units.begin(
                context.org_id, context.scope, actor=context.principal, request_id=request_id_of(request)
            ) as work:
                yield work

        return Depends(dependency, scope="function")
