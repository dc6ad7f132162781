"""HTTP bodies of what a provider last said of a campaign: its counters and its sequence."""

from __future__ import annotations

from pydantic import BaseModel

from services.provider_sync.schemas import Time


class SnapshotOut(BaseModel):
    """`as_of`: the provider's clock when it answered; `read_at`: when that was kept. Both null: it was never asked, or never
    answered; ask with `POST …/refreshes`."""

    campaign_id: str
    account_id: str
    company_id: str
    as_of: Time | None
    read_at: Time | None


class EmailFigures(BaseModel):
    """Null: not told, which is not 0. With `unique_` people, without it occurrences."""

    leads: int | None = None
    leads_contacted: int | None = None
    sent: int | None = None
    opened: int | None = None
    unique_opened: int | None = None
    clicked: int | None = None
    unique_clicked: int | None = None
    replied: int | None = None
    unique_replied: int | None = None
    bounced: int | None = None
    unsubscribed: int | None = None
    interested: int | None = None


class EmailStepFigures(EmailFigures):
    """`external_id` is what the provider counts by, a step or a variant of its text. `number` and `variant` say which; null
    where its sequence has it no more, or where it is no variant."""

    external_id: str
    number: int | None
    variant: str | None


class LinkedInFigures(BaseModel):
    """Null: not told, which is not 0. With `unique_` people, without it occurrences."""

    leads: int | None = None
    leads_contacted: int | None = None
    unique_replied: int | None = None
    connection_requests: int | None = None
    connections_accepted: int | None = None
    messages_sent: int | None = None
    inmails_sent: int | None = None
    unique_inmail_replied: int | None = None
    profile_views: int | None = None
    follows: int | None = None
    likes: int | None = None


class EmailStatisticsOut(SnapshotOut):
    """`totals` are the provider's own since the campaign was made, `not_told` those that it does not have. `steps`: the same by
    step, null where it told none. `counted`: what our own rows make of the same names at this moment."""

    totals: EmailFigures
    not_told: list[str]
    steps: list[EmailStepFigures] | None
    counted: EmailFigures


class LinkedInStatisticsOut(SnapshotOut):
    """`totals` are the provider's own since the campaign was made, `not_told` those that it does not have; none is told by
    step. `counted`: what our own rows make of the same names at this moment."""

    totals: LinkedInFigures
    not_told: list[str]
    counted: LinkedInFigures


class VariantOut(BaseModel):
    subject: str
    body_html: str
    external_id: str | None
    label: str | None


class StepOut(BaseModel):
    """As `PUT …/sequence` takes it, and its `number`. `is_manual`: a person is asked to do something; null: not told."""

    number: int
    delay_days: int
    variants: list[VariantOut]
    external_id: str | None
    is_manual: bool | None


class EmailSequenceOut(SnapshotOut):
    """`steps` in order; null: never read."""

    steps: list[StepOut] | None


class NodeOut(BaseModel):
    """As `PUT …/sequence` takes it, but that `kind` may be `other`: one that can be read and not be written."""

    kind: str
    delay_hours: int
    texts: list[str]
    fallback_text: str | None
    subject: str | None
    following: NodeOut | None
    if_met: NodeOut | None


class LinkedInSequenceOut(SnapshotOut):
    """`first`: the first step; null: the campaign has none, or (`read_at` null) it was never read."""

    first: NodeOut | None
