"""Bodies of changes at providers, the same for all of them, and operations as they are shown."""

from __future__ import annotations

from datetime import time
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StringConstraints, field_validator, model_validator

from libs.providers.records import (
    Answer,
    CampaignChanges,
    EmailStep,
    LinkedInNode,
    NewLead,
    NodeKind,
    Schedule,
    Variant,
)
from libs.web.numbers import WHOLE
from libs.web.texts import LINE, VISIBLE
from services.provider_sync.schemas import Name, Short, Time

# PostgreSQL takes no NUL; else a text may hold what it likes.
_TEXT = r"^[^\x00]*$"
_ADDRESS = rf"^[^\s@,;<>{LINE}]{{1,64}}@[^\s@,;<>{LINE}]{{1,255}}$"
_HOUR = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"

Text = Annotated[str, StringConstraints(max_length=20_000, pattern=_TEXT)]
Html = Annotated[str, StringConstraints(max_length=200_000, pattern=_TEXT)]
Line = Annotated[str, StringConstraints(max_length=500, pattern=VISIBLE)]
Address = Annotated[str, StringConstraints(max_length=320, pattern=_ADDRESS)]
Hour = Annotated[str, StringConstraints(pattern=_HOUR)]
Url = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=VISIBLE)]
MOST_LEADS = 1000
MOST_NODES = 100


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


def _example(**example: Any) -> ConfigDict:
    return ConfigDict(extra="forbid", json_schema_extra={"examples": [example]})


class NewCampaignIn(BaseModel):
    """`company_id`: one of those that the account's sub-accounts are; absent: the account's own."""

    model_config = _example(account_id="acc_0190a1b2c3d47e8f9a0b1c2d3e4f5a6b", name="Autumn, part 2")

    account_id: Short
    name: Name
    company_id: Short | None = None


class ScheduleIn(_Strict):
    """`days` are ISO weekdays: 1 is Monday. The times are those of `timezone`."""

    timezone: Annotated[str, StringConstraints(min_length=1, max_length=60, pattern=r"^[A-Za-z0-9_+/-]+$")]
    days: Annotated[list[Annotated[int, Field(ge=1, le=7), WHOLE]], Field(min_length=1, max_length=7)]
    starts_at: Hour
    ends_at: Hour

    @field_validator("timezone")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("no IANA time zone; give one like Europe/Berlin, or UTC") from None
        return value

    def as_record(self) -> Schedule:
        return Schedule(
            timezone=self.timezone,
            days=frozenset(self.days),
            starts_at=time.fromisoformat(self.starts_at),
            ends_at=time.fromisoformat(self.ends_at),
        )


class CampaignChangeIn(BaseModel):
    """What is left out stays. `sender_external_ids`: all that it sends from, by the provider's ids."""

    model_config = _example(
        schedule={"timezone": "Europe/Berlin", "days": [1, 2, 3, 4, 5], "starts_at": "09:00", "ends_at": "17:00"},
        new_leads_per_day=20,
    )

    name: Name | None = None
    schedule: ScheduleIn | None = None
    new_leads_per_day: Annotated[int, Field(ge=1, le=100_000), WHOLE] | None = None
    minutes_between_mails: Annotated[int, Field(ge=1, le=1440), WHOLE] | None = None
    sender_external_ids: Annotated[list[Short], Field(max_length=500)] | None = None
    tracks_opens: StrictBool | None = None
    tracks_clicks: StrictBool | None = None
    is_plain_text: StrictBool | None = None

    @model_validator(mode="after")
    def _something(self) -> CampaignChangeIn:
        if all(value is None for value in self.__dict__.values()):
            raise ValueError("nothing to change: name what is to be different")
        return self

    def as_record(self) -> CampaignChanges:
        senders = self.sender_external_ids
        return CampaignChanges(
            name=self.name,
            schedule=None if self.schedule is None else self.schedule.as_record(),
            new_leads_per_day=self.new_leads_per_day,
            minutes_between_mails=self.minutes_between_mails,
            sender_external_ids=None if senders is None else tuple(senders),
            tracks_opens=self.tracks_opens,
            tracks_clicks=self.tracks_clicks,
            is_plain_text=self.is_plain_text,
        )


class VariantIn(_Strict):
    """A blank subject continues the thread of the step before. With `external_id` a text is changed in place."""

    subject: Annotated[str, StringConstraints(max_length=1000, pattern=VISIBLE)]
    body_html: Html
    external_id: Short | None = None
    label: Annotated[str, StringConstraints(min_length=1, max_length=20, pattern=VISIBLE)] | None = None


class StepIn(_Strict):
    """`delay_days` is the wait after the step before, 0 at the first. With `external_id` it keeps its figures."""

    delay_days: Annotated[int, Field(ge=0, le=365), WHOLE]
    variants: Annotated[list[VariantIn], Field(min_length=1, max_length=26)]
    external_id: Short | None = None


class EmailSequenceIn(BaseModel):
    """The whole sequence, in order: steps that are not among these are deleted."""

    model_config = _example(
        steps=[{"delay_days": 0, "variants": [{"subject": "Dock slots", "body_html": "<p>Hello</p>"}]}]
    )

    steps: Annotated[list[StepIn], Field(min_length=1, max_length=50)]

    def as_record(self) -> list[EmailStep]:
        return [
            EmailStep(
                number=number,
                delay_days=step.delay_days,
                external_id=step.external_id,
                variants=tuple(
                    Variant(subject=one.subject, body_html=one.body_html, external_id=one.external_id, label=one.label)
                    for one in step.variants
                ),
            )
            for number, step in enumerate(self.steps, start=1)
        ]


class NodeIn(_Strict):
    """A step, `delay_hours` after the one before; one of `texts` is picked for each lead. At a question (`is_…`) `if_met`
    follows a yes and `following` a no."""

    kind: Literal[
        "connection_request", "message", "inmail", "view_profile", "follow", "is_connected", "is_open_profile", "end"
    ]
    delay_hours: Annotated[int, Field(ge=0, le=8760), WHOLE] = 0
    texts: Annotated[list[Text], Field(max_length=20)] = []
    fallback_text: Text | None = None
    subject: Line | None = None
    following: NodeIn | None = None
    if_met: NodeIn | None = None

    def count(self) -> int:
        return 1 + sum(one.count() for one in (self.following, self.if_met) if one is not None)

    def as_record(self) -> LinkedInNode:
        return LinkedInNode(
            kind=NodeKind(self.kind),
            delay_hours=self.delay_hours,
            texts=tuple(self.texts),
            fallback_text=self.fallback_text,
            subject=self.subject,
            following=None if self.following is None else self.following.as_record(),
            if_met=None if self.if_met is None else self.if_met.as_record(),
        )


class LinkedInSequenceIn(BaseModel):
    """The whole sequence, from its first step on."""

    model_config = _example(
        first={"kind": "connection_request", "texts": ["Hello"], "following": {"kind": "end", "delay_hours": 24}}
    )

    first: NodeIn

    @field_validator("first")
    @classmethod
    def _few(cls, value: NodeIn) -> NodeIn:
        if value.count() > MOST_NODES:
            raise ValueError(f"a sequence has at most {MOST_NODES} steps")
        return value

    def as_record(self) -> LinkedInNode:
        return self.first.as_record()


class LeadIn(_Strict):
    """Whom to add: by `email` in e-mail campaigns, by `profile_url` in LinkedIn ones. `fields` are variables of texts."""

    email: Address | None = None
    profile_url: Url | None = None
    first_name: Line | None = None
    last_name: Line | None = None
    company_name: Line | None = None
    title: Line | None = None
    phone: Line | None = None
    location: Line | None = None
    fields: Annotated[
        dict[Short, Annotated[str, StringConstraints(max_length=2000, pattern=_TEXT)]], Field(max_length=50)
    ] = {}
    sender_external_id: Short | None = None

    def as_record(self) -> NewLead:
        return NewLead(**self.model_dump())


class LeadsIn(BaseModel):
    model_config = _example(leads=[{"email": "ada@example.com", "first_name": "Ada", "fields": {"city": "Kiel"}}])

    leads: Annotated[list[LeadIn], Field(min_length=1, max_length=MOST_LEADS)]


class ReplyIn(BaseModel):
    """`text` is plain; e-mail prefers `html`. `to_message_id`: which message is answered; absent: the lead's last one."""

    model_config = _example(text="Thursday at ten it is.")

    text: Annotated[str, StringConstraints(min_length=1, max_length=50_000, pattern=_TEXT)]
    html: Html | None = None
    to_message_id: Short | None = None
    cc: Annotated[list[Address], Field(max_length=20)] = []
    bcc: Annotated[list[Address], Field(max_length=20)] = []

    def as_record(self, to_message_key: str | None) -> Answer:
        return Answer(
            text=self.text, html=self.html, to_message_key=to_message_key, cc=tuple(self.cc), bcc=tuple(self.bcc)
        )


class DecisionIn(BaseModel):
    """What a person found at the provider. `not_done`: it may be asked for again, as a new operation."""

    model_config = _example(outcome="not_done", note="it is not in the mailbox's sent mail")

    outcome: Literal["done", "not_done"]
    note: Annotated[str, StringConstraints(min_length=1, max_length=1000, pattern=_TEXT)]


class OperationOut(BaseModel):
    """`state`: `pending`; `running`; `unknown`: its answer was lost, and it is looked for, or (`needs_decision`) only a
    person can tell; `succeeded`; `failed`; `cancelled`. `done` of `total` calls are made. `error` says why it failed, or
    what it waits for. `result` is what the provider answered: ids of what was made, counts of leads, and each
    lead that was `not_added` (`refused` with the provider's `reason`, or `undecided` while it is looked for)."""

    id: str
    account_id: str
    company_id: str
    kind: str
    target: str
    state: Literal["pending", "running", "succeeded", "failed", "unknown", "cancelled"]
    needs_decision: bool
    done: int
    total: int
    result: dict[str, Any]
    error_code: str | None
    error: str | None
    note: str | None
    created_at: Time
    changed_at: Time
    completed_at: Time | None
