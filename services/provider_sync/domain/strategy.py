"""How an account's messages are followed: by webhook alone, or read back too. What speaks for which, in numbers.

Where a provider's lists name every message with its campaign and step, they are the truth and are read anyway. Where they
do not (docs/adr/0017), a pull is a repair at best, and only done where somebody chose it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from libs.errors import Unsupported
from libs.providers.capabilities import Pulls
from libs.providers.registry import Provider
from services.provider_sync.domain.accounts import Account

WINDOW = timedelta(days=30)  # what is older says little of how the account is followed today
# HeyReach repeats a post for a day at most: what a longer outage swallowed never comes by itself.
LONGEST_SILENCE = timedelta(hours=24)


class SyncMode(StrEnum):
    WEBHOOK_ONLY = "webhook_only"
    PULL_BEST_EFFORT = "pull_best_effort"  # also reads conversations: adds what no webhook told, and deletes by no list
    WEBHOOK_AND_PULL = "webhook_and_pull"  # the provider's lists are the truth; nobody needs to choose


CHOICES = (SyncMode.WEBHOOK_ONLY, SyncMode.PULL_BEST_EFFORT)


def mode_of(provider: Provider, chosen: str | None) -> SyncMode:
    """The mode in force; `chosen` is what stands at the account."""
    if provider.offers(Pulls):
        return SyncMode.WEBHOOK_AND_PULL
    return SyncMode.WEBHOOK_ONLY if chosen is None else SyncMode(chosen)


def may_pull(account: Account, provider: Provider) -> bool:
    """Whether a sync may read this account's messages from its provider."""
    return mode_of(provider, account.chosen_sync_mode) is not SyncMode.WEBHOOK_ONLY


def check_choice(provider: Provider) -> None:
    """Raises: Unsupported where there is nothing to choose."""
    if provider.offers(Pulls):
        raise Unsupported(
            f"{provider.name} accounts have no sync_mode to choose: their messages come by webhook and are read back, as "
            "the provider's lists name each with its campaign and step",
            pointer="/sync_mode",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What our rows tell of the last WINDOW. Messages by who told of them; `without_campaign` of all of these.

    `missed_by_webhooks`: those that only a pull told of, though the account was open when they happened. `heard_at`: the
    last webhook, None: never one; `registered_at`: since when the address is the present one.
    """

    by_webhook_only: int
    by_pull_only: int
    by_both: int
    missed_by_webhooks: int
    without_campaign: int
    without_step: int
    engagements: int
    running_campaigns: int
    endpoint_status: str | None
    heard_at: datetime | None
    registered_at: datetime | None

    @property
    def messages(self) -> int:
        return self.by_webhook_only + self.by_pull_only + self.by_both

    def silence(self, now: datetime) -> timedelta | None:
        """How long campaigns run without a word; None: nothing is to be expected."""
        since = self.heard_at or self.registered_at
        if self.endpoint_status != "registered" or not self.running_campaigns or since is None:
            return None
        return max(timedelta(), now - since)


@dataclass(frozen=True, slots=True)
class Advice:
    mode: SyncMode
    because: tuple[str, ...]


def advise(provider: Provider, evidence: Evidence, now: datetime) -> Advice:
    """The mode that the numbers speak for."""
    if provider.offers(Pulls):
        return Advice(
            SyncMode.WEBHOOK_AND_PULL,
            ("the provider's lists name each message with its campaign and step, so what a webhook missed is found",),
        )
    missed = _missed(evidence, now)
    if missed:
        return Advice(SyncMode.PULL_BEST_EFFORT, tuple(missed))
    told = evidence.by_webhook_only + evidence.by_both
    because = [
        f"webhooks told of all {told} messages of the last {WINDOW.days} days"
        if told
        else f"nothing of the last {WINDOW.days} days speaks against it",
        f"only they tell of what is no message ({evidence.engagements} engagements), and name campaign and sender",
        provider.lacks.get(Pulls.__name__, "the provider's lists are not the truth about messages"),
    ]
    return Advice(SyncMode.WEBHOOK_ONLY, tuple(because))


def _missed(evidence: Evidence, now: datetime) -> Sequence[str]:
    """Signs that webhooks alone do not tell all."""
    found = []
    if evidence.endpoint_status in (None, "failed", "unknown"):
        found.append(f"the webhook endpoint's registration is {evidence.endpoint_status or 'missing'}")
    silence = evidence.silence(now)
    if silence is not None and silence > LONGEST_SILENCE:
        hours = int(silence.total_seconds() // 3600)
        found.append(
            f"no webhook for {hours} hours while {evidence.running_campaigns} campaigns run; what the provider could not "
            "post within a day it never posts"
        )
    if evidence.missed_by_webhooks:
        found.append(
            f"{evidence.missed_by_webhooks} of {evidence.messages} messages no webhook told of, but a pull did"
        )
    return found
