"""HTTP bodies of the gateway's own routes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    StringConstraints,
    field_validator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from libs.clock import rfc3339
from libs.tenancy.roles import Role
from libs.web.numbers import WHOLE
from libs.web.texts import LINE, NAMED, TRIMMED, VISIBLE

Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=NAMED), TRIMMED]
Reason = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=NAMED), TRIMMED]
CompanyIds = Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=500)]
Scopes = Annotated[list[Annotated[str, Field(max_length=64)]], Field(min_length=1, max_length=100)]
# OpenID Connect Core 1.0, 2: at most 255 ASCII characters, case-sensitive.
Subject = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,255}$")]
# Kept as given: who may judge an address is the server that takes mail for it.
Email = Annotated[str, StringConstraints(max_length=320, pattern=rf"^[^\s@{LINE}]+@[^\s@{LINE}]+$")]
Time = Annotated[datetime, PlainSerializer(rfc3339, return_type=str)]
T = TypeVar("T")

_COMPANY = "cmp_0190a1b2c3d47e8f9a0b1c2d3e4f5a6b"

MAX_OVERLAP_SECONDS = 7 * 86_400
MAX_ASSUMED_MINUTES = 60


class Body(BaseModel):
    """A request body: a field that we do not know is a mistake to be told, not to be ignored."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _only_known_fields(cls, data: Any) -> Any:
        if isinstance(data, dict) and (unknown := [name for name in data if name not in cls.model_fields]):
            named = ", ".join(ascii(name[:50]) for name in unknown[:5])
            raise ValueError(f"unknown field {named}; known are {', '.join(cls.model_fields)}")
        return data


def _example(**fields: Any) -> ConfigDict:
    """For the API's document: a body as it may be sent."""
    return ConfigDict(json_schema_extra={"examples": [fields]})


class OrganizationIn(Body):
    model_config = _example(name="Northwind Outreach", time_zone="Europe/Berlin")

    name: Name
    time_zone: Annotated[str, Field(max_length=64)] = "UTC"


class ReasonIn(Body):
    """Why: kept in the organization's audit log and in the platform's."""

    model_config = _example(reason="three invoices unpaid; agreed with Ada")

    reason: Reason


class ErasureIn(Body):
    """`confirm` repeats the organization's name or id: nothing brings it back."""

    model_config = _example(confirm="Northwind Outreach", reason="contract ended, data handed over")

    confirm: Annotated[str, StringConstraints(max_length=200, pattern=VISIBLE)]
    reason: Reason


class CompanyIn(Body):
    model_config = _example(name="Harbour Bakery")

    name: Name


class ApiKeyIn(Body):
    model_config = _example(name="frontend", role="company_viewer", company_ids=[_COMPANY])

    name: Name
    role: Role
    company_ids: CompanyIds = []
    scopes: Scopes | None = Field(None, description="permissions; absent or null: all that the role has")
    expires_at: AwareDatetime | None = None


class UserIn(Body):
    model_config = _example(
        subject="idp|7", email="ada@example.com", name="Ada Example", role="company_manager", company_ids=[_COMPANY]
    )

    subject: Subject
    email: Email
    name: Name
    role: Role
    company_ids: CompanyIds = []


class UserChangeIn(Body):
    """What is absent stays as it is; null is no value here."""

    model_config = _example(role="company_viewer", company_ids=[_COMPANY])

    email: Email | None = None
    name: Name | None = None
    status: Literal["active", "suspended"] | None = None
    role: Role | None = None
    company_ids: CompanyIds | None = None

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """None says "absent" in Python only: documents know no null either."""
        schema = handler(core)
        fields = handler.resolve_ref_schema(schema)["properties"]
        for name, field in fields.items():
            fields[name] = next(kind for kind in field["anyOf"] if kind != {"type": "null"})
        return schema

    @field_validator("*", mode="before")
    @classmethod
    def _no_null(cls, value: Any) -> Any:
        if value is None:  # only what is given comes here
            raise ValueError("null is no value here: leave the field out to keep what is")
        return value


class RotationIn(Body):
    """How long the secret before goes on: not at all (0) to a week."""

    model_config = _example(overlap_seconds=3600)

    overlap_seconds: Annotated[int, Field(ge=0, le=MAX_OVERLAP_SECONDS), WHOLE] = 86_400


class AssumptionIn(Body):
    """Platform staff go into an organization: why, for how long, and whether to change something there."""

    model_config = _example(
        organization_id="org_0190a1b2c3d47e8f9a0b1c2d3e4f5a6b", reason="ticket 4711: replies are missing", minutes=30
    )

    organization_id: Annotated[str, Field(max_length=64)]
    reason: Reason
    minutes: Annotated[int, Field(ge=1, le=MAX_ASSUMED_MINUTES), WHOLE]
    write: Annotated[bool, Field(strict=True)] = False


class Page(BaseModel, Generic[T]):
    data: list[T]
    has_more: bool
    next_cursor: str | None
    as_of: Time | None


class OrganizationOut(BaseModel):
    id: str
    name: str
    time_zone: str
    status: str
    created_at: Time


class OrganizationDetailOut(OrganizationOut):
    suspended_at: Time | None
    suspended_reason: str | None = Field(description="shown to platform staff only")


class ServiceErasureOut(BaseModel):
    service: str
    state: Literal["requested", "running", "completed"]
    tables: dict[str, int] = Field(description="rows deleted so far, by table")
    rows: int = Field(description="the sum of them")
    refused: int = Field(description="deliveries that came too late and were discarded")
    changed_at: Time


class ErasureOut(BaseModel):
    """Once it is completed no service holds anything of the organization but its id, and when and how much was deleted."""

    organization_id: str
    state: Literal["running", "completed"]
    requested_at: Time
    completed_at: Time | None
    services: list[ServiceErasureOut]


class CompanyOut(BaseModel):
    id: str
    name: str
    status: str
    created_at: Time


class KeySecretOut(BaseModel):
    last4: str
    created_at: Time
    ends_at: Time | None = Field(description="null: as long as its key")


class ApiKeyOut(BaseModel):
    id: str
    name: str
    role: Role
    company_ids: list[str]
    scopes: list[str] | None = Field(description="of its role's permissions those that it has; null: all")
    last4: str = Field(description="of the newest secret")
    secrets: list[KeySecretOut] = Field(description="the newest first; two while a key is being replaced")
    created_at: Time
    expires_at: Time | None
    revoked_at: Time | None
    last_used_at: Time | None = Field(description="to five minutes")


class IssuedKeyOut(ApiKeyOut):
    key: str = Field(description="the key itself; shown this once")


class UserOut(BaseModel):
    id: str
    subject: str
    email: str
    name: str
    status: str
    role: Role
    company_ids: list[str]
    created_at: Time
    changed_at: Time = Field(description="when the membership last changed")


class MeOut(BaseModel):
    key_id: str | None = Field(description="null for a person who signed in")
    user_id: str | None = Field(description="null for a key")
    role: Role
    organization_id: str | None = Field(description="the org acted in; null for platform staff who named none")
    company_ids: list[str] | None = Field(description="null: all companies")
    scopes: list[str] | None = Field(description="of a key that was given some of its role's permissions only")
    permissions: list[str] = Field(description="what may be done with it, in this organization")
    assumed_until: Time | None = Field(description="of platform staff in an organization that they have assumed")


class AssumptionOut(BaseModel):
    id: str
    organization_id: str
    principal: str = Field(description="platform:…, as in audit logs")
    reason: str
    write: bool
    begun_at: Time
    ends_at: Time
    ended_at: Time | None = Field(description="when it was ended before its time")


class AuditEntryOut(BaseModel):
    position: int = Field(description="1, 2, 3 … without a gap within the organization")
    at: Time
    actor: str = Field(description="key:…, user:…, platform:…, or machine")
    action: str
    outcome: Literal["done", "denied"]
    object: str = Field(description="a public id; of a denial method and path")
    details: dict[str, Any]
    request_id: str | None
    hash: str = Field(description="SHA-256 over this entry and the hash before it; hex")


DeadLetterState = Literal["dead", "parked", "due", "done", "discarded"]


class DeadLetterOut(BaseModel):
    """As was heard of it, `as_of` the page; `GET /v1/dead-letters/{id}` asks its owner, and tells its bytes and attempts."""

    id: str
    group_id: str
    service: str
    consumer: str
    event_id: str
    type: str
    subject: str
    state: DeadLetterState
    error_class: str
    reason: str
    fingerprint: str
    attempts: int
    changed_at: Time


OperationState = Literal["pending", "running", "succeeded", "failed", "unknown", "cancelled"]


class OperationListedOut(BaseModel):
    """As was heard of it, `as_of` the page; `GET /v1/operations/{id}` asks its owner, and tells result and error."""

    id: str
    account_id: str
    company_id: str
    kind: str
    target: str
    state: OperationState
    needs_decision: bool
    done: int
    total: int
    error_code: str | None
    created_at: Time
    changed_at: Time
