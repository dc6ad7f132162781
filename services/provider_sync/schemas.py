"""HTTP bodies. Ids are public ones (`acc_…`); times RFC 3339 in UTC."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, SecretStr, StringConstraints

from libs.clock import rfc3339
from libs.web.texts import NAMED, TRIMMED, VISIBLE

Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=NAMED), TRIMMED]
Short = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=VISIBLE)]
Time = Annotated[datetime, PlainSerializer(rfc3339, return_type=str)]
Channel = Literal["email", "linkedin"]
T = TypeVar("T")


class NewAccount(BaseModel):
    """`company_id` is the default company; `client_companies` gives sub-accounts of the provider to others, where it
    has such. `base_url` may be left out where the provider has one address for all."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "provider": "smartlead",
                    "name": "Northwind at Smartlead",
                    "company_id": "cmp_0190a1b2c3d47e8f9a0b1c2d3e4f5a6b",
                    "credentials": {"api_key": "the key that Smartlead shows you"},
                }
            ]
        },
    )

    provider: Short
    name: Name
    company_id: Short
    base_url: Annotated[str, StringConstraints(max_length=500, pattern=VISIBLE)] | None = None
    credentials: dict[str, SecretStr]
    client_companies: Annotated[dict[Short, Short], Field(max_length=1000)] = {}


class AccountChange(BaseModel):
    """What is left out stays. With `revision` (as last read) nothing is changed that somebody else changed meanwhile.
    `sync_mode` is for accounts of providers whose lists are not the truth about messages (HeyReach)."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"credentials": {"api_key": "the new key"}},
                {"status": "paused"},
                {"sync_mode": "webhook_only"},
            ]
        },
    )

    name: Name | None = None
    status: Literal["active", "paused"] | None = None
    credentials: dict[str, SecretStr] | None = None
    sync_mode: Literal["webhook_only", "pull_best_effort"] | None = None
    revision: Annotated[int, Field(ge=1)] | None = None


class WebhookEndpointOut(BaseModel):
    """pending: being opened; ready: about to be registered; sent: being registered; registered; unknown: the provider did
    not answer, and a webhook or a person will tell; failed. The URL is a secret, and not shown."""

    id: str | None
    status: str
    error: str | None
    last_webhook_at: Time | None


class AccountOut(BaseModel):
    """`workspace_external_id`: the provider's tenant that the credentials act in, once it has told one.

    `status`: `active`; `paused` by a person; `needs_reauth` while the provider refuses the credentials (`status_reason`).
    `paused_until`: an active account makes no call before that, because the provider said so or does not answer
    (`pause_reason`).
    """

    id: str
    provider: str
    channel: Channel
    name: str
    base_url: str | None
    company_id: str
    client_companies: dict[str, str]
    workspace_external_id: str | None
    status: str
    status_reason: str | None
    paused_until: Time | None
    pause_reason: str | None
    revision: int
    webhook_endpoint: WebhookEndpointOut
    created_at: Time


SyncMode = Literal["webhook_only", "pull_best_effort", "webhook_and_pull"]


class FollowedOut(BaseModel):
    """What our rows tell since `since`. Messages by who told of them; those without campaign or step are of all of these.
    `missed_by_webhooks`: those of `by_pull_only` that happened since the account was opened. `engagements`: what is no
    message (opens, connection requests …)."""

    since: Time
    messages: int
    by_webhook_only: int
    by_pull_only: int
    by_both: int
    missed_by_webhooks: int
    without_campaign: int
    without_step: int
    engagements: int
    running_campaigns: int
    webhook_endpoint_status: str | None
    last_webhook_at: Time | None


class SyncStrategyOut(BaseModel):
    """How an account's messages are followed (`current`), what the numbers speak for (`recommended`) and why.

    `webhook_only`; `pull_best_effort`: conversations are read too, which adds what no webhook told and deletes nothing;
    `webhook_and_pull`: the provider's lists are the truth, and nothing is to be chosen (`choices` is empty).
    """

    account_id: str
    company_id: str
    provider: str
    current: SyncMode
    choices: list[SyncMode]
    recommended: SyncMode
    because: list[str]
    evidence: FollowedOut
    as_of: Time


class CampaignOut(BaseModel):
    id: str
    account_id: str
    company_id: str
    channel: Channel
    external_id: str
    name: str | None
    status: str | None
    source: str
    created_at: Time
    updated_at: Time


class EnrolmentOut(BaseModel):
    """A campaign that a lead is or was in, as far as anything told of it. `state`: how far it was there at `state_seen_at`
    (`waiting`, `active`, `paused`, `stopped`, `completed`, `blocked`, `failed`, `removed`, `unknown`); null: nobody said."""

    campaign_id: str
    state: str | None
    state_seen_at: str | None


class LeadOut(BaseModel):
    """A lead is a person as one account knows them.

    `same_person` are the caller's other leads with the same address or LinkedIn profile, as their providers state them
    (at most 20; names are never compared); `channels` those on which any of all these is written to. `campaigns` are those
    of the caller's (at most 20).
    """

    id: str
    account_id: str
    channel: Channel
    channels: list[Channel]
    same_person: list[str]
    external_id: str | None
    email: str | None
    profile_url: str | None
    first_name: str | None
    last_name: str | None
    company_name: str | None
    title: str | None
    phone: str | None
    location: str | None
    campaigns: list[EnrolmentOut]
    created_at: Time
    updated_at: Time


class ConversationOut(BaseModel):
    """`sender_external_id`: the account of ours that speaks, where answers need it (LinkedIn)."""

    id: str
    account_id: str
    company_id: str
    channel: Channel
    campaign_id: str | None
    lead_id: str | None
    lead_email: str | None
    lead_profile_url: str | None
    external_id: str | None
    sender_external_id: str | None
    subject: str | None
    category: str | None
    sentiment: str | None
    last_activity_at: Time | None
    last_direction: str | None


class MessageOut(BaseModel):
    """`sequence_step_number` is the step that sent it or that it answers; `step_source` how that is known. `manual`: a
    person wrote it, no sequence; `inmail`: LinkedIn's paid kind; null while nothing says."""

    id: str
    conversation_id: str
    campaign_id: str | None
    lead_id: str
    channel: Channel
    direction: str
    occurred_at: Time | None
    subject: str | None
    from_address: str | None
    to_address: str | None
    body_text: str | None
    body_html: str | None
    in_reply_to_id: str | None
    sequence_step_number: int | None
    step_source: str | None
    manual: bool | None
    inmail: bool | None
    source: str


class Page(BaseModel, Generic[T]):
    """`as_of`: when this was read; `last_webhook_at`: when the accounts concerned were last heard of (null: never)."""

    data: list[T]
    has_more: bool
    next_cursor: str | None
    as_of: Time
    last_webhook_at: Time | None


class Freshness(BaseModel):
    """What each detail carries beside its fields, as a page does."""

    as_of: Time
    last_webhook_at: Time | None


class CampaignDetail(CampaignOut, Freshness):
    pass


class LeadDetail(LeadOut, Freshness):
    pass


class ConversationDetail(ConversationOut, Freshness):
    pass
