"""Moving secrets to newer keys, org by org: what is done is told by the rows, so whatever was killed is begun anew.

Services go on meanwhile: a row is opened by the key that it names, and an older data key is only dropped when a newer one
has sealed everything for longer than any transaction lives.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID

from libs.database.engine import Database, OrganizationErased, TenantSession
from libs.errors import PlatformError
from libs.ids import OrgId
from services.provider_sync.key_ring import KeysUnavailable
from services.provider_sync.repository.org_keys import (
    SEALED,
    OrgKeyRepository,
    Secret,
    SecretRepository,
    orgs_with_secrets,
)
from services.provider_sync.sealing import ENVELOPED, SealBroken, Sealer

# Longer than a transaction lives. A data key younger than this is not replaced either, so a rotation that is started
# again goes on where it was instead of making yet another key.
SETTLED_SECONDS = 3600.0
_BATCH = 200
_ORGS_AT_ONCE = 1000
_BEFORE_ALL = UUID(int=0)


@dataclass(slots=True)
class Rotated:
    """What was done for one org. `broken`: rows that no key opens, left as they are, as `table id`."""

    org_id: OrgId
    wrapped: int = 0
    made: int = 0
    sealed: int = 0
    dropped: int = 0
    broken: tuple[str, ...] = ()
    error: str | None = None


class Rotation:
    def __init__(self, database: Database, sealer: Sealer) -> None:
        self._database = database
        self._sealer = sealer

    async def orgs(self) -> AsyncIterator[OrgId]:
        """All orgs that have secrets."""
        after = OrgId(_BEFORE_ALL)
        while True:
            async with self._database.transaction() as transaction:
                await transaction.as_service()
                found = await orgs_with_secrets(transaction, after, _ORGS_AT_ONCE)
            for org_id in found:
                yield org_id
            if len(found) < _ORGS_AT_ONCE:
                return
            after = found[-1]

    async def rotate(self, org_id: OrgId, *, data_keys: bool) -> Rotated:
        """Wrap the org's data keys with the newest wrapping key and seal with its newest data key what is not.

        `data_keys`: make a new data key first. A key that is missing ends it for this org only: `error` says which.
        """
        done = Rotated(org_id)
        try:
            await self._wrap(done)
            if data_keys:
                await self._make_key(done)
            for table in SEALED:
                await self._seal_table(done, table)
            await self._drop_unused(done)
        except OrganizationErased:
            pass  # what is left of it is being deleted
        except (KeysUnavailable, SealBroken) as error:
            done.error = str(error)
        return done

    async def _wrap(self, done: Rotated) -> None:
        async with self._database.tenant_transaction(done.org_id) as session:
            keys = OrgKeyRepository(session)
            for key in await keys.not_wrapped_by(self._sealer.wrapping_id):
                await keys.wrap_anew(self._sealer.wrapped_anew(key, done.org_id))
                done.wrapped += 1

    async def _make_key(self, done: Rotated) -> None:
        async with self._database.tenant_transaction(done.org_id) as session:
            keys = OrgKeyRepository(session)
            if await keys.newest_is_older_than(SETTLED_SECONDS):
                newest = await self._sealer.newest_key(session)
                await keys.insert(self._sealer.new_key(done.org_id, version=newest.version + 1))
                done.made += 1

    async def _seal_table(self, done: Rotated, table: str) -> None:
        after = _BEFORE_ALL
        while True:
            async with self._database.tenant_transaction(done.org_id) as session:
                newest = await self._sealer.newest_key(session)
                secrets = SecretRepository(session)
                found = await secrets.lock_sealed_otherwise(table, ENVELOPED + newest.id.bytes, after, _BATCH)
                anew = [one for secret in found if (one := await self._sealed_anew(done, secret, session)) is not None]
                await secrets.replace(anew)
            done.sealed += len(anew)
            if len(found) < _BATCH:
                return
            after = found[-1].row_id

    async def _sealed_anew(self, done: Rotated, secret: Secret, session: TenantSession) -> Secret | None:
        try:
            opened = await self._sealer.open(secret.sealed, session, table=secret.table, row_id=secret.row_id)
        except (SealBroken, KeysUnavailable):  # the latter of what was sealed before orgs had keys: no key opens it
            done.broken += (f"{secret.table} {secret.row_id}",)
            return None
        sealed = await self._sealer.seal(opened, session, table=secret.table, row_id=secret.row_id)
        return Secret(secret.table, secret.row_id, sealed)

    async def _drop_unused(self, done: Rotated) -> None:
        async with self._database.tenant_transaction(done.org_id) as session:
            keys = OrgKeyRepository(session)
            used = await SecretRepository(session).counts()
            unused = [key.id for key in await keys.all() if key.id not in used]
            done.dropped = await keys.drop_unused(unused, SETTLED_SECONDS)

    async def hanging(self, org_id: OrgId) -> dict[str, Counter[str]]:
        """Wrapping key -> how many `data_keys` and `secrets` of the org hang on it; "" for secrets that nothing opens."""
        try:
            async with self._database.tenant_transaction(org_id) as session:
                return await self._hanging(session)
        except OrganizationErased:  # what is left of it is being deleted
            return {}

    async def _hanging(self, session: TenantSession) -> dict[str, Counter[str]]:
        found: dict[str, Counter[str]] = {}
        secrets = SecretRepository(session)
        sealed = await secrets.counts()
        for key in await OrgKeyRepository(session).all():
            hanging = found.setdefault(key.wrapped_by, Counter())
            hanging.update(data_keys=1, secrets=sealed.pop(key.id, 0))
        if sealed:
            found.setdefault("", Counter()).update(secrets=sum(sealed.values()))
        for secret in await secrets.unenveloped():
            try:
                name, _ = self._sealer.open_unenveloped(
                    secret.sealed, session.org_id, table=secret.table, row_id=secret.row_id
                )
            except PlatformError:
                name = ""
            found.setdefault(name, Counter()).update(secrets=1)
        return found
