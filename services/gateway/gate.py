"""Who is calling, and in which org: asked of every request, whether it is answered here or forwarded."""

from __future__ import annotations

import hmac
import sys
from uuid import UUID

from starlette.types import Scope

from libs.clock import now
from libs.database.engine import Database
from libs.errors import Forbidden, Invalid, NotFound, Unauthenticated
from libs.ids import PLATFORM_ORG, CompanyId, OrgId, parse_public_id, public_id
from libs.tenancy.context import ALL_COMPANIES, CompanyScope
from services.gateway import keys
from services.gateway.domain import (
    AskedScope,
    Assumption,
    Caller,
    Principal,
    choose_member,
    decide_scope,
    no_such_company,
    no_such_organization,
)
from services.gateway.keys import Peppers, PresentedKey
from services.gateway.memory import Recent
from services.gateway.notes import of
from services.gateway.rates import Exhausted, RateGate
from services.gateway.repository.assumptions import Assumptions
from services.gateway.repository.keys import KnownKey, StoredSecret, look_up_key
from services.gateway.repository.tenants import Companies, Organizations
from services.gateway.repository.users import KnownMember, look_up_members
from services.gateway.sign_in import SignIn, looks_like_token
from services.gateway.strangers import Strangers
from services.gateway.uses import Uses

# A revoked key must be refused within 5 s everywhere, look-ups and clocks included.
KEY_SECONDS = 3.0
_TENANT_SECONDS = 5.0
_DOUBT_SECONDS = 1.0
# Who was let in that lately is no stranger, whoever else fails to sign in from the same address.
_PROVEN_SECONDS = 600.0

_UNKNOWN = (StoredSecret(b"\0" * 32, 1),)


class Gate:
    """`sign_in` is None where no identity provider is set: then keys alone open."""

    def __init__(
        self,
        database: Database,
        peppers: Peppers,
        sign_in: SignIn | None = None,
        rates: RateGate | None = None,
        strangers: Strangers | None = None,
    ) -> None:
        self._rates = rates
        self._strangers = strangers or Strangers(sys.maxsize)
        self._proven: Recent[UUID, bool] = Recent(_PROVEN_SECONDS)
        self._sign_in = sign_in
        self.members: Recent[str, tuple[KnownMember, ...]] = Recent(KEY_SECONDS)
        self._database = database
        self._peppers = peppers
        self.keys: Recent[UUID, KnownKey | _Unknown] = Recent(KEY_SECONDS)
        self._doubted: Recent[UUID, bool] = Recent(_DOUBT_SECONDS)
        self.uses = Uses(database)
        self.assumptions: Recent[tuple[UUID, OrgId], Assumption] = Recent(KEY_SECONDS)
        self._organizations: Recent[OrgId, bool] = Recent(_TENANT_SECONDS)
        self._companies: Recent[tuple[OrgId, CompanyId], bool] = Recent(_TENANT_SECONDS)

    async def admit(self, scope: Scope) -> Caller:
        """The caller of an HTTP request.

        Raises:
            Unauthenticated: no key, or none that is valid now.
            Forbidden: the key's organization is suspended.
            NotFound: an org is named that does not exist, or is not the key's own.
            Exhausted: the caller's or its org's rate limit is used up, or too many failed from this address.
        """
        authorization: bytes | None = None
        named: bytes | None = None
        for name, value in scope["headers"]:
            if name == b"authorization":
                if authorization is not None:
                    raise Unauthenticated("send one Authorization header")
                authorization = value
            elif name == b"outrider-org":
                if named is not None:
                    raise Invalid("send one Outrider-Org header", pointer="Outrider-Org")
                named = value
        org = None if named is None else named.decode("latin-1")
        notes = of(scope)
        try:
            principal = await self._known((authorization or b"").decode("latin-1"), org, scope)
        except Exhausted as error:
            notes.headers += error.headers
            raise
        request_id = str(scope.get("request_id", ""))
        notes.caller = Caller(principal, None if principal.is_platform else principal.home, request_id)
        if self._rates is not None:
            try:
                notes.headers += await self._rates.admit(principal)
            except Exhausted as error:
                notes.headers += error.headers
                raise
        if org is not None:
            org_id = await self._organization(principal, org)
            notes.caller = Caller(principal, org_id, request_id, await self._assumption(principal, org_id))
            if notes.caller.assumption is not None:
                notes.headers.append((b"outrider-assumed", public_id("org", org_id).encode()))
        return notes.caller

    async def _known(self, authorization: str, named: str | None, scope: Scope) -> Principal:
        try:
            return await self.authenticate(authorization, named, scope)
        except Unauthenticated:
            self._strangers.failed(scope)
            raise

    async def authenticate(self, authorization: str, named: str | None = None, scope: Scope | None = None) -> Principal:
        """Who sends this Authorization header (of the request `scope`). Of a person's memberships that of the org `named` counts.

        Raises:
            Exhausted: too many failed from this address for a look-up of one who is not known.
            Unauthenticated: a key or token that is not valid now.
            Forbidden: it is valid, but the organization or the person is suspended, or the person is in none.
            Invalid: the person is in several organizations and named none.
        """
        scheme, _, text = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthenticated("send your API key as `Authorization: Bearer otr_live_…`")
        text = text.strip()
        if self._sign_in is not None and looks_like_token(text):
            return self._admitted(await self._member(await self._sign_in.subject(text), named))
        return await self._key_holder(text, scope)

    async def _member(self, subject: str, named: str | None) -> KnownMember:
        members = self.members.get(subject)
        if members is None:
            since = self.members.now()
            members = await look_up_members(self._database, subject)
            self.members.put(subject, members, since=since)
        if not members:
            raise Forbidden("you are signed in, but no organization knows you: ask its admin", code="no_membership")
        chosen = choose_member([member.principal for member in members], named)
        return next(member for member in members if member.principal is chosen)

    @staticmethod
    def _admitted(member: KnownMember) -> Principal:
        if member.suspended:
            raise Forbidden("this organization is suspended", code="organization_suspended")
        if not member.active:
            raise Forbidden("you are suspended in this organization: ask its admin", code="user_suspended")
        return member.principal

    async def _key_holder(self, text: str, scope: Scope | None) -> Principal:
        presented = keys.parse(text)
        if presented is None:
            raise _not_valid()
        if scope is not None and self.keys.get(presented.id) is None and not self._proven.get(presented.id):
            self._strangers.check(scope)
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
        if not self._proven.get(presented.id):
            self._proven.put(presented.id, True, since=self._proven.now())
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

    async def _assumption(self, principal: Principal, org_id: OrgId) -> Assumption | None:
        if "assumptions:write" not in principal.permissions:
            return None
        found = self.assumptions.get((principal.id, org_id))
        if found is None:
            since = self.assumptions.now()
            async with self._database.tenant_transaction(PLATFORM_ORG) as session:
                found = await Assumptions(session).live(principal.name, org_id)
            if found is not None:  # that there is none is not remembered: it may begin at another replica at any moment
                self.assumptions.put((principal.id, org_id), found, since=since)
        return found if found is not None and found.ends_at > now() else None

    def forget(self) -> None:
        """After a change of a whole organization: here at once, at other replicas within seconds."""
        self.keys.clear()
        self.members.clear()
        self._organizations.clear()

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
