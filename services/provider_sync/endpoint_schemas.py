"""HTTP bodies of webhook endpoints."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints

from libs.web.numbers import WHOLE
from services.provider_sync.domain.endpoints import SignatureMode, SourceMode
from services.provider_sync.schemas import Short, Time

# A provider's own are UUIDs and longer; shorter ones can be guessed.
_Secret = Annotated[SecretStr, Field(min_length=16, max_length=500)]
_Source = Annotated[str, StringConstraints(min_length=1, max_length=50)]
_WEEK, _MONTH = 7 * 86_400, 30 * 86_400


class RotationIn(BaseModel):
    """`overlap_seconds`: how long the token before goes on once the new one is registered at the provider."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"overlap_seconds": 604800}]})

    overlap_seconds: Annotated[int, Field(ge=0, le=_MONTH), WHOLE] = _WEEK


class EndpointChangeIn(BaseModel):
    """`revision` is the one that was read. What is absent or null stays as it is. Secrets are written only: an added one is
    good beside those that are there."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"revision": 1, "allowed_sources": ["192.0.2.0/24"]}]}
    )

    revision: Annotated[int, WHOLE]
    signature_mode: SignatureMode | None = None
    add_signing_secret: _Secret | None = None
    remove_signing_secrets: Annotated[list[Short], Field(max_length=20)] = []
    source_mode: SourceMode | None = None
    allowed_sources: Annotated[list[_Source], Field(max_length=50)] | None = None


class CountsOut(BaseModel):
    """Deliveries since `since` (null: since ever), when mode, secrets or sources last changed. `verified`, `unsigned` and
    `mismatched` are counted while signatures are observed or required, `listed` and `unlisted` while sources are listed."""

    since: Time | None
    verified: int
    unsigned: int
    mismatched: int
    listed: int
    unlisted: int


class SuggestionOut(BaseModel):
    """A value for a field of this endpoint, and the numbers that speak for it."""

    field: Literal["signature_mode", "source_mode"]
    value: str
    because: str


class TokenOut(BaseModel):
    """newest: to be registered, or registered; overlapping: good as well; ended: its posts are quarantined until
    `refused_from`; dead: its posts are refused. `removed_at`: when the provider was told to forget its URL."""

    id: str
    last4: str | None
    state: Literal["newest", "overlapping", "ended", "dead"]
    created_at: Time | None
    replaced_at: Time | None = None
    overlap_ends_at: Time | None = None
    ends_at: Time | None = None
    refused_from: Time | None = None
    last_used_at: Time | None = None
    removed_at: Time | None = None
    removal_error: str | None = None


class SigningSecretOut(BaseModel):
    id: str
    created_at: Time


class VerificationOut(BaseModel):
    """What the last look at the provider found. whole: as it should be; repaired: it was faulty (`error`), and is not any
    more; broken: it is faulty, and could not be repaired; unknown: a person has to look; null: not looked at yet.

    `last_verified_at`: when the provider last had it as it should be; `last_checked_at`: when it was last looked at.
    """

    state: Literal["whole", "repaired", "broken", "unknown"] | None
    last_verified_at: Time | None
    last_checked_at: Time | None
    last_repaired_at: Time | None
    error: str | None


class EndpointOut(BaseModel):
    """`status` and `error` are those of the newest token's registration at the provider, `webhook_external_id` is what that
    calls it. `silent_since`: it is registered, campaigns run, and nothing was heard for more than a day."""

    id: str
    account_id: str
    company_id: str
    provider: str
    revision: int
    status: Literal["pending", "ready", "sent", "registered", "unknown", "failed"]
    error: str | None
    webhook_external_id: str | None
    last_webhook_at: Time | None
    silent_since: Time | None
    verification: VerificationOut
    signature_mode: SignatureMode
    source_mode: SourceMode
    allowed_sources: list[str]
    counts: CountsOut
    suggestions: list[SuggestionOut]


class EndpointDetail(EndpointOut):
    """`can_be_signed`: this provider has a way to prove its deliveries."""

    tokens: list[TokenOut]
    can_be_signed: bool
    signing_secrets: list[SigningSecretOut]


class ReleasedOut(BaseModel):
    """How many deliveries are judged anew; `has_more`: ask again for the rest."""

    released: int
    has_more: bool
