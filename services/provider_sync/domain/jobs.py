"""Work that must be done at a provider: asked for by an event, kept as a row, done by a worker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from libs.contracts.envelope import Envelope
from libs.ids import AccountId


class Superseded(Exception):
    """Another worker has it by now: what this one did is not kept."""


class JobKind(StrEnum):
    REGISTER_WEBHOOK = "register_webhook"
    REMOVE_WEBHOOK = "remove_webhook"
    END_TOKEN = "end_token"  # noqa: S105 - a kind of job
    SNAPSHOT = "snapshot"
    REPAIR = "repair"
    READ_BACK = "read_back"
    TEST_ACCOUNT = "test_account"
    READ_FIGURES = "read_figures"
    READ_SEQUENCE = "read_sequence"
    VERIFY_WEBHOOK = "verify_webhook"
    LOOK_FOR_LEADS = "look_for_leads"

    @property
    def is_live(self) -> bool:
        """Somebody waits for it: it may spend what bulk work must leave."""
        return self in (JobKind.REGISTER_WEBHOOK, JobKind.READ_BACK, JobKind.TEST_ACCOUNT, *OF_CAMPAIGNS)


OF_CAMPAIGNS = (JobKind.READ_FIGURES, JobKind.READ_SEQUENCE)


@dataclass(frozen=True, slots=True)
class Wish:
    """`key` is natural: the same wish twice is one job. `payload` is JSON.

    `told_at`: what led to the wish was told then, so whatever was read since has seen it, and nothing is read again.
    """

    account_id: AccountId
    kind: JobKind
    key: str
    payload: Mapping[str, Any]
    cause: Envelope
    due_in_seconds: float = 0.0
    told_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A wish in a worker's hands: its `takes`-th taking, the `attempts`-th since it was asked for anew."""

    id: UUID
    account_id: AccountId
    kind: JobKind
    payload: Mapping[str, Any]
    cause: Envelope
    wanted: int
    takes: int
    attempts: int


def retry_delay(attempts: int, jitter: float) -> float | None:
    """Seconds until the next attempt, None when it was the last. `jitter` is drawn from 0..1 (full jitter)."""
    if attempts > len(_DELAYS_SECONDS):
        return None
    return _DELAYS_SECONDS[attempts - 1] * jitter


# A provider's outage of a quarter of an hour is bridged; what lasts longer is for the next reconciliation or a person.
_DELAYS_SECONDS = (2.0, 10.0, 60.0, 300.0, 600.0)
