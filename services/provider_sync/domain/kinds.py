"""The kinds of entities, and which columns each has: what the merge, the SQL and the reading of payloads agree on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Field:
    """A column whose value statements decide. `told` ones are in the entity's event, or decide what is (never a text)."""

    name: str
    type: str = "text"
    told: bool = False


@dataclass(frozen=True, slots=True)
class Kind:
    """`identity` are columns fixed by the natural key, `derived` ones are made from fields when the row is written."""

    name: str
    table: str
    identity: tuple[Field, ...]
    fields: tuple[Field, ...]
    derived: tuple[Field, ...] = ()
    has_company: bool = True

    @property
    def told(self) -> frozenset[str]:
        return frozenset(one.name for one in (*self.fields, *self.derived) if one.told)


def _texts(names: str) -> tuple[Field, ...]:
    return tuple(Field(name) for name in names.split())


CAMPAIGN = Kind(
    name="campaign",
    table="campaigns",
    identity=(Field("external_id"), Field("channel")),
    fields=(Field("name", told=True), Field("status", told=True), Field("client_external_id", told=True)),
)
STEP = Kind(
    name="sequence_step",
    table="sequence_steps",
    identity=(Field("key"), Field("campaign_id", "uuid"), Field("number", "integer")),
    fields=(Field("external_id", told=True), Field("subject", told=True), Field("delay_days", "integer", told=True)),
)
LEAD = Kind(
    name="lead",
    table="leads",
    identity=(Field("key"), Field("channel")),
    fields=_texts("external_id email profile_url first_name last_name company_name title phone location"),
    derived=(Field("profile"),),
    has_company=False,
)
ENROLMENT = Kind(
    name="enrolment",
    table="enrolments",
    identity=(Field("key"), Field("channel"), Field("campaign_id", "uuid"), Field("lead_id", "uuid")),
    fields=(Field("external_id"), Field("state"), Field("added_at", "timestamptz")),
)
CONVERSATION = Kind(
    name="conversation",
    table="conversations",
    identity=(Field("key"), Field("channel")),
    fields=(
        Field("lead_id", "uuid"),
        Field("campaign_id", "uuid", told=True),
        *_texts("external_id sender_external_id subject category sentiment"),
        Field("last_activity_at", "timestamptz"),
        Field("last_direction"),
    ),
)
MESSAGE = Kind(
    name="message",
    table="messages",
    identity=(Field("key"), Field("channel")),
    fields=(
        Field("conversation_id", "uuid", told=True),
        Field("campaign_id", "uuid", told=True),
        Field("lead_id", "uuid", told=True),
        Field("direction", told=True),
        Field("stated_step", "integer", told=True),
        Field("occurred_at", "timestamptz", told=True),
        Field("in_reply_to_id", "uuid", told=True),
        Field("manual", "boolean", told=True),
        Field("inmail", "boolean", told=True),
        *_texts("from_address to_address subject body_text body_html internet_message_id"),
    ),
    derived=(Field("step_number", "integer", told=True), Field("step_source", told=True)),
)
ENGAGEMENT = Kind(
    name="engagement",
    table="engagements",
    identity=(Field("key"), Field("channel")),
    fields=(
        Field("kind", told=True),
        Field("campaign_id", "uuid", told=True),
        Field("lead_id", "uuid", told=True),
        Field("message_id", "uuid", told=True),
        Field("step_number", "integer", told=True),
        Field("occurred_at", "timestamptz", told=True),
        Field("details", "jsonb", told=True),
    ),
)

# Parents first. All writers take rows in this order, and by id within a kind, so that they wait and never deadlock.
KINDS = (CAMPAIGN, STEP, LEAD, ENROLMENT, CONVERSATION, MESSAGE, ENGAGEMENT)
