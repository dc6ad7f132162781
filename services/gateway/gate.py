"""Who is calling, and in which org: asked of every request, whether it is answered here or forwarded."""

from __future__ import annotations

import hmac
from uuid import UUID

from starlette.types import Scope

from libs.clock import now
from libs.database.engine import Database
from libs.errors import Forbidden, NotFound, Unauthenticated
from libs.ids import CompanyId, OrgId, parse_public_id
from libs.tenancy.context import ALL_COMPANIES, CompanyScope
from services.gateway import keys
from services.gateway.domain import (
    AskedScope,
    Caller,
    Principal,
    decide_scope,
    no_such_company,
    no_such_organization,
)
from services.gateway.keys import Peppers, PresentedKey
from services.gateway.memory import Recent
from services.gateway.repository.keys import KnownKey, StoredSecret, look_up_key
from services.gateway.repository.tenants import Companies, Organizations
from services.gateway.uses import Uses

# A revoked key must be refused within 5 s everywhere, look-ups and clocks included.
KEY_SECONDS = 3.0
_TENANT_SECONDS = 5.0
_DOUBT_SECONDS = 1.0

_UNKNOWN = (StoredSecret(b"\0" * 32, 1),)


class Gate:
    def __init__(self, database: Database, peppers: Peppers) -> None:
        self._database = database
        self._peppers = peppers
        self.keys: Recent[UUID, KnownKey | _Unknown] = Recent(KEY_SECONDS)
        self._doubted: Recent[UUID, bool] = Recent(_DOUBT_SECONDS)
        self.uses = Uses(database)
        self._organizations: Recent[OrgId, bool] = Recent(_TENANT_SECONDS)
        self._companies: Recent[tuple[OrgId, CompanyId], bool] = Recent(_TENANT_SECONDS)

    async def admit(self, scope: Scope) -> Caller:
        """The caller of an HTTP request.

        Raises:
            Unauthenticated: no key, or none that is valid now.
            Forbidden: the key's organization is suspended.
            NotFound: an org is named that does not exist, or is not the key's own.
        """
        authorization: bytes | None = None
        named: bytes | None = None
        for name, value in scope["headers"]:
            if name == b"authorization":
                if authorization is not None:
                    raise Unauthenticated("send one Authorization header")
                authorization = value
            elif name == b"outrider-org":
                named = value
        principal = await self.authenticate((authorization or b"").decode("latin-1"))
        if named is None:
            return Caller(principal, None if principal.is_platform else principal.home)
        return Caller(principal, await self._organization(principal, named.decode("latin-1")))

    async def authenticate(self, authorization: str) -> Principal:
        scheme, _, text = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthenticated("send your API key as `Authorization: Bearer otr_live_…`")
        presented = keys.parse(text.strip())
        if presented is None:
            raise _not_valid()
        known = await self._key(presented.id)
        # An unknown id takes the same way as a wrong secret.
        stored = known.secrets if known is not None else _UNKNOWN
        fitting = [one for one in stored if self._fits(presented, one)]
        if known is not None and not fitting and not self._doubted.get(presented.id):
            # Another replica may just have given the key a new secret; guessing costs us one query a second.
            self._doubted.put(presented.id, True, since=self._doubted.now())
            self.keys.drop(presented.id)
            known = await self._key(presented.id)
            fitting = [one for one in known.secrets if self._fits(presented, one)] if known is not None else []
        if known is None or not fitting:
            raise _not_valid()
        # From here on the caller has proved to hold the key, so it may be told what is wrong with it.
        if known.revoked:
            raise Unauthenticated("this API key was revoked", code="key_revoked")
        ends_at = fitting[0].ends_at
        if ends_at is not None and ends_at <= now():
            raise Unauthenticated("this API key was replaced by a newer one", code="key_expired")
        if known.principal.expires_at is not None and known.principal.expires_at <= now():
            raise Unauthenticated("this API key has expired", code="key_expired")
        if known.suspended:
            raise Forbidden("this organization is suspended", code="organization_suspended")
        self.uses.note(known.principal)
        return known.principal

    def _fits(self, presented: PresentedKey, stored: StoredSecret) -> bool:
        return hmac.compare_digest(
            self._peppers.mac(stored.pepper_version, presented.id, presented.secret), stored.hmac
        )

    async def _key(self, key_id: UUID) -> KnownKey | None:
        kept = self.keys.get(key_id)
        if kept is None:
            since = self.keys.now()
            kept = await look_up_key(self._database, key_id) or _Unknown()
            self.keys.put(key_id, kept, since=since)
        return None if isinstance(kept, _Unknown) else kept

    async def _organization(self, principal: Principal, named: str) -> OrgId:
        try:
            org_id = OrgId(parse_public_id("org", named))
        except NotFound:
            raise no_such_organization() from None
        if not principal.is_platform:
            if org_id != principal.home:
                raise no_such_organization()
        elif not self._organizations.get(org_id):
            since = self._organizations.now()
            async with self._database.tenant_transaction(org_id) as session:
                if not await Organizations(session).exists():
                    raise no_such_organization()
            self._organizations.put(org_id, True, since=since)
        return org_id

    async def scope_for(self, caller: Caller, asked: AskedScope, *, company_filter: bool) -> CompanyScope:
        """The companies a request is about; see `decide_scope` for what is refused.

        Raises:
            NotFound: also when an admin names a company that the org does not have.
        """
        scope = decide_scope(caller.principal, asked, company_filter=company_filter)
        if asked.company_id is not None and caller.principal.scope.is_all and scope.companies is not None:
            (company,) = scope.companies
            await self._check_company(caller.org(), company)
        return scope

    async def _check_company(self, org_id: OrgId, company: CompanyId) -> None:
        if self._companies.get((org_id, company)):
            return
        since = self._companies.now()
        async with self._database.tenant_transaction(org_id, ALL_COMPANIES) as session:
            if not await Companies(session).all_exist([company]):
                raise no_such_company()
        self._companies.put((org_id, company), True, since=since)


class _Unknown:
    """Remembered too: a flood of one unknown id must not become a flood of queries."""


def _not_valid() -> Unauthenticated:
    return Unauthenticated("this API key is not valid")
