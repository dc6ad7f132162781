"""HTTP bodies of the gateway's own routes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import (
    AwareDatetime,
    BaseModel,
    Field,
    PlainSerializer,
    StringConstraints,
    field_validator,
    model_validator,
)

from libs.clock import rfc3339
from libs.tenancy.roles import Role

# Visible text only: PostgreSQL takes no NUL, and a name with a line break forges a line somewhere.
Name = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")
]
CompanyIds = Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=500)]
# OpenID Connect Core 1.0, 2: at most 255 ASCII characters, case-sensitive.
Subject = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,255}$")]
# Kept as given: who may judge an address is the server that takes mail for it.
Email = Annotated[str, StringConstraints(max_length=320, pattern=r"^[^\s@\x00-\x1f\x7f]+@[^\s@\x00-\x1f\x7f]+$")]
Time = Annotated[datetime, PlainSerializer(rfc3339, return_type=str)]
T = TypeVar("T")

MAX_OVERLAP_SECONDS = 7 * 86_400


class Body(BaseModel):
    """A request body: a field that we do not know is a mistake to be told, not to be ignored."""

    @model_validator(mode="before")
    @classmethod
    def _only_known_fields(cls, data: Any) -> Any:
        if isinstance(data, dict) and (unknown := [name for name in data if name not in cls.model_fields]):
            named = ", ".join(ascii(name[:50]) for name in unknown[:5])
            raise ValueError(f"unknown field {named}; known are {', '.join(cls.model_fields)}")
        return data


class OrganizationIn(Body):
    name: Name
    time_zone: Annotated[str, Field(max_length=64)] = "UTC"


class CompanyIn(Body):
    name: Name


class ApiKeyIn(Body):
    name: Name
    role: Role
    company_ids: CompanyIds = []
    expires_at: AwareDatetime | None = None


class UserIn(Body):
    subject: Subject
    email: Email
    name: Name
    role: Role
    company_ids: CompanyIds = []


class UserChangeIn(Body):
    """What is absent stays as it is; null is no value here."""

    email: Email | None = None
    name: Name | None = None
    status: Literal["active", "suspended"] | None = None
    role: Role | None = None
    company_ids: CompanyIds | None = None

    @field_validator("*", mode="before")
    @classmethod
    def _no_null(cls, value: Any) -> Any:
        if value is None:  # only what is given comes here
            raise ValueError("null is no value here: leave the field out to keep what is")
        return value


class RotationIn(Body):
    """How long the secret before goes on: not at all (0) to a week."""

    overlap_seconds: Annotated[int, Field(ge=0, le=MAX_OVERLAP_SECONDS, strict=True)] = 86_400


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
    permissions: list[str]


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
