"""Smartlead's two proofs. Neither is promised by its API: it neither takes a secret nor tells one.

- `X-Smartlead-Signature: sha256=<hex HMAC-SHA-256 of the raw body>`: in its documentation of account alerts; nobody has
  reported it on a campaign's delivery.
- `secret_key` in the body: a UUID that Smartlead mints for an account or webhook and repeats in every delivery. No signature
  of the content, but whoever has only learnt the URL does not have it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence

from libs.errors import ContractViolated
from libs.providers.payloads import parse
from libs.providers.signing import Verdict, any_equal

HEADER = "x-smartlead-signature"
_PREFIX = "sha256="


class SmartleadSigning:
    """Implements Signing."""

    headers = (HEADER,)

    def verify(self, headers: Mapping[str, str], body: bytes, secrets: Sequence[str]) -> Verdict:
        signature, key = headers.get(HEADER), _secret_key(body)
        if signature is not None and signature.startswith(_PREFIX):
            made = [hmac.new(secret.encode(), body, hashlib.sha256).hexdigest() for secret in secrets]
            if any_equal(signature.removeprefix(_PREFIX).lower(), made):
                return Verdict.VERIFIED
        if key is not None and any_equal(key, secrets):
            return Verdict.VERIFIED
        return Verdict.UNSIGNED if signature is None and key is None else Verdict.MISMATCHED


def _secret_key(body: bytes) -> str | None:
    try:
        payload = parse(body)
    except ContractViolated:
        return None
    value = payload.get("secret_key") if isinstance(payload, dict) else None
    return value if isinstance(value, str) and value else None
