"""Whether a delivery is proven to be its provider's: asked when it is handled, with the mode and the secrets of that moment."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

import orjson

from libs.contracts.events import WebhookReceivedV1
from libs.database.engine import TenantSession
from libs.observability.logs import get_logger
from libs.providers.registry import Provider
from libs.providers.signing import Verdict
from services.provider_sync.domain.endpoints import UNJUDGED, Judging, SignatureRefused, refusal
from services.provider_sync.key_ring import KeysUnavailable
from services.provider_sync.sealing import SealBroken, Sealer

log = get_logger()


class Judge:
    """Judges the deliveries of one batch of one org; each endpoint's secrets are opened once."""

    def __init__(
        self,
        judged: Mapping[UUID, Judging],
        providers: Mapping[str, Provider],
        sealer: Sealer,
        session: TenantSession,
    ) -> None:
        self._judged = judged
        self._providers = providers
        self._sealer = sealer
        self._session = session
        self._secrets: dict[UUID, list[str] | None] = {}

    async def __call__(self, event: WebhookReceivedV1) -> tuple[Verdict | None, SignatureRefused | None]:
        """The verdict (None: nobody asked for one, or nobody can tell), and why the delivery is not to be applied."""
        judging = self._judged.get(event.endpoint_id)
        signing = self._providers[event.provider].signing if event.provider in self._providers else None
        if judging is None or signing is None:
            return None, None
        secrets = await self._open(event.endpoint_id, judging)
        if secrets is None:
            # Not an error: a missing key stops what wants its proof, and neither other endpoints nor other orgs.
            return None, UNJUDGED if judging.mode == "require" else None
        headers = orjson.loads(event.signature_headers) if event.signature_headers else {}
        verdict = signing.verify(headers, event.body, secrets)
        if judging.mode == "require" and verdict is not Verdict.VERIFIED:
            return verdict, refusal(verdict)
        return verdict, None

    async def _open(self, endpoint_id: UUID, judging: Judging) -> list[str] | None:
        if endpoint_id not in self._secrets:
            try:
                self._secrets[endpoint_id] = [
                    await self._sealer.open(sealed, self._session, table="signing_secrets", row_id=secret_id)
                    for secret_id, sealed in judging.secrets.items()
                ]
            except (KeysUnavailable, SealBroken) as error:
                log.error("signing_secrets_not_opened", endpoint_id=str(endpoint_id), reason=str(error))
                self._secrets[endpoint_id] = None
        return self._secrets[endpoint_id]
