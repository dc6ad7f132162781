"""HTTP bodies of readings, and of how far each campaign is known."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from services.provider_sync.schemas import Short, Time

RunState = Literal["pending", "running", "succeeded", "failed"]


class SyncIn(BaseModel):
    """`full`: all that the account holds, not only what is new; `campaign_id`: of one campaign only."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{}, {"full": True}]})

    full: bool = False
    campaign_id: Short | None = None


class SyncRunOut(BaseModel):
    """One reading of an account, or of one of its campaigns. `feeds_done` of `feeds_total` lists are read (null: the
    campaigns are not listed yet), in `pages` with `rows_seen` rows, of which `rows_changed` were news; `restarts` lists had
    to be begun anew as they moved meanwhile.

    `failed`: `error` says why; with `lists_not_read` all other lists were read. `running` with an `error`: what it waits for.
    """

    id: str
    account_id: str
    company_id: str
    campaign_id: str | None
    reason: Literal["schedule", "request"]
    full: bool
    state: RunState
    feeds_done: int
    feeds_total: int | None
    pages: int
    rows_seen: int
    rows_changed: int
    restarts: int
    error_code: str | None
    error: str | None
    created_at: Time
    started_at: Time | None
    changed_at: Time
    ended_at: Time | None


class SyncHealthOut(BaseModel):
    """How far a campaign is known.

    `status`: `healthy`; `never_synced`: not read to its end yet; `webhook_only`: the account is not read, see its
    sync-strategy; `stopped`: the account is paused, or its credentials are refused; `failing`: the last reading of one of
    its lists failed (`last_error`); `lagging`: it was read too long ago; `incomplete`: webhooks miss more than 1 in 20.

    `last_synced_at`: when all of its lists had been read for the last time; `lag_seconds`: how long ago that is.
    `messages` are those that are known; a message told by both is in `messages_by_webhook` and in `messages_by_pull`.
    `completeness`: of the messages that the provider lists and that are of the time since the campaign's first webhook, the
    share that webhooks told; null while nothing is known to compare.
    """

    campaign_id: str
    status: Literal["healthy", "never_synced", "webhook_only", "stopped", "failing", "lagging", "incomplete"]
    last_synced_at: Time | None
    last_full_sync_at: Time | None
    last_webhook_at: Time | None
    lag_seconds: float | None
    messages: int
    messages_by_webhook: int
    messages_by_pull: int
    completeness: float | None
    last_error: str | None
    as_of: Time
