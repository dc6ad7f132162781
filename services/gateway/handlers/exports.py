"""What can be copied of an organization: the gateway's own tables, and what every owner answers of its."""

from __future__ import annotations

import asyncio

from pydantic import ValidationError

from libs.clock import now
from libs.observability.logs import get_logger
from libs.tenancy.context import TenantContext
from libs.tenancy.signing import ContextSigner
from libs.web.exports import ExportList, export_list
from services.gateway.domain import Caller, no_such_organization
from services.gateway.exports import EXPORTS
from services.gateway.forwarding import GATHERED, PREFIX, Forward
from services.gateway.owners import Inner, Owners, UpstreamTimeout, UpstreamUnavailable, signed

log = get_logger()


async def list_exports(caller: Caller, owners: Owners, signer: ContextSigner) -> ExportList:
    """All owners' tables, by owner and name.

    Raises:
        UpstreamUnavailable: one of them does not answer: half a list would be taken for all there is.
        NotFound: the organization is being erased.
    """
    context = TenantContext(caller.principal.name, caller.org(), caller.principal.scope, caller.permissions)

    async def ask(one: Forward) -> ExportList:
        headers = signed(signer, context, one.owner, caller.request_id)
        try:
            answer = await owners.ask(one.owner, Inner(one.method, one.path.removeprefix(PREFIX), b"", headers, b""))
        except UpstreamTimeout as error:
            raise _unavailable() from error
        if answer.status == 404:
            raise no_such_organization()
        if answer.status != 200:
            log.error("owner_refused_context", owner=one.owner, path=one.path, status=answer.status)
            raise _unavailable()
        try:
            return ExportList.model_validate_json(answer.body)
        except ValidationError as error:  # a version that we do not know
            raise _unavailable() from error

    asked = await asyncio.gather(*(ask(one) for one in GATHERED), return_exceptions=True)
    lists = [export_list(EXPORTS, context.org_id)]
    for one in asked:
        if isinstance(one, BaseException):
            raise one
        lists.append(one)
    return ExportList(
        organization_id=lists[0].organization_id,
        data=sorted((table for one in lists for table in one.data), key=lambda one: (one.owner, one.table)),
        left_out=sorted((table for one in lists for table in one.left_out), key=lambda one: (one.owner, one.table)),
        as_of=now(),
    )


def _unavailable() -> UpstreamUnavailable:
    return UpstreamUnavailable("a part of Outrider that holds rows of yours does not answer at the moment")
