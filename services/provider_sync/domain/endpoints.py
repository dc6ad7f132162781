"""Webhook endpoints: when a replaced token ends, how a proof is judged, what the counts suggest. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_network
from typing import Literal
from uuid import UUID

from libs.errors import Invalid, PermanentError
from libs.providers.signing import Verdict

SignatureMode = Literal["off", "observe", "require"]
SourceMode = Literal["observe", "enforce"]

# A token that is still in use when its overlap is over goes on: some webhook still posts to it, or somebody who has learnt
# it. Hence the bound.
UNUSED = timedelta(hours=24)
STRETCH = timedelta(days=7)
# What comes later is kept and can be released, so that a webhook that was forgotten is noticed and costs nothing.
LATE = timedelta(days=30)
# Providers repeat a post to the address that it was first sent to, for a day at most; so long the old registration stays.
RETRIES = timedelta(hours=24)
# Each rotation leaves a token that is late for a month, and the door compares with all of them.
MOST_TOKENS = 20
MOST_SECRETS = 5

# Fewer say little of the types that come seldom.
ENOUGH = 100


class SignatureRefused(PermanentError):
    """The delivery is not proven to be its provider's, and its endpoint wants a proof; see `withholding`."""

    code = "signature_refused"


@dataclass(frozen=True, slots=True)
class EarlierToken:
    """A token that was replaced. `overlap_ends_at` and `ends_at` (the latest) are set once its successor is registered."""

    id: UUID
    sha256: str
    replaced_at: datetime
    overlap_ends_at: datetime | None = None
    ends_at: datetime | None = None
    ended_at: datetime | None = None
    last_used_at: datetime | None = None

    @property
    def end(self) -> datetime | None:
        return self.ended_at or self.ends_at

    @property
    def dead_at(self) -> datetime | None:
        """From then on its posts are refused like a stranger's."""
        return None if self.end is None else self.end + LATE

    def is_over(self, moment: datetime) -> bool:
        return self.end is not None and self.end <= moment

    def is_dead(self, moment: datetime) -> bool:
        return self.dead_at is not None and self.dead_at <= moment

    def goes_on_for(self, moment: datetime) -> timedelta | None:
        """How long until it may end, as far as is known now; None: it ends now.

        Asked only once its successor is registered.
        """
        assert self.overlap_ends_at is not None
        assert self.ends_at is not None
        quiet_at = max(self.overlap_ends_at, (self.last_used_at or self.replaced_at) + UNUSED)
        left = min(quiet_at, self.ends_at) - moment
        return left if left > timedelta() else None


@dataclass(frozen=True, slots=True)
class Judging:
    """How deliveries to an endpoint are judged; `secrets` are sealed, by their row's id."""

    mode: SignatureMode
    secrets: Mapping[UUID, bytes]


UNJUDGED = SignatureRefused("the endpoint's signing secrets do not open at the moment")


def refusal(verdict: Verdict) -> SignatureRefused:
    if verdict is Verdict.UNSIGNED:
        return SignatureRefused("the delivery shows no proof that it is its provider's")
    return SignatureRefused("the delivery shows a proof that none of the endpoint's secrets makes")


@dataclass(frozen=True, slots=True)
class Counts:
    """Deliveries since mode, secrets or sources last changed."""

    verified: int
    unsigned: int
    mismatched: int
    listed: int
    unlisted: int


@dataclass(frozen=True, slots=True)
class Suggestion:
    field: Literal["signature_mode", "source_mode"]
    value: str
    because: str


def suggestions(
    signature_mode: SignatureMode, has_secrets: bool, source_mode: SourceMode, has_sources: bool, counts: Counts
) -> list[Suggestion]:
    """Steps up that cost nothing as far as the counts tell; and steps down where a mode keeps everything out."""
    found = []
    refused = counts.unsigned + counts.mismatched
    if signature_mode == "off" and has_secrets:
        because = "there are secrets, and nobody looks whether deliveries are made with them"
        found.append(Suggestion("signature_mode", "observe", because))
    if signature_mode == "observe" and counts.verified >= ENOUGH and not refused:
        because = f"all of {counts.verified} deliveries were proven"
        found.append(Suggestion("signature_mode", "require", because))
    if signature_mode == "require" and refused >= ENOUGH and not counts.verified:
        because = f"none of {refused} deliveries was proven: are the secrets right?"
        found.append(Suggestion("signature_mode", "observe", because))
    if has_sources and source_mode == "observe" and counts.listed >= ENOUGH and not counts.unlisted:
        because = f"all of {counts.listed} deliveries came from a listed source"
        found.append(Suggestion("source_mode", "enforce", because))
    return found


def checked_sources(texts: Iterable[str]) -> list[str]:
    """CIDR blocks in their one spelling, each once.

    Raises:
        Invalid: one is none, or has bits set behind its prefix, or is everybody.
    """
    found = []
    for position, text in enumerate(texts):
        pointer = f"/allowed_sources/{position}"
        try:
            block = ip_network(text)
        except ValueError:
            raise Invalid("a source is an address or a CIDR block like 192.0.2.0/24", pointer=pointer) from None
        if block.prefixlen == 0:
            raise Invalid("this block is everybody: leave the list empty instead", pointer=pointer)
        found.append(str(block))
    return list(dict.fromkeys(found))
