"""Problem documents (RFC 9457): the one table in which errors become answers."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import orjson
from starlette.responses import Response

from libs.errors import (
    Conflict,
    DependencyDown,
    Forbidden,
    HeadersTooLarge,
    Invalid,
    NotFound,
    PermanentError,
    PlatformError,
    ProviderUnavailable,
    RateLimited,
    RequestError,
    TooLarge,
    TooSlow,
    TransientError,
    Unauthenticated,
    Unsupported,
    UnsupportedMedia,
)

CONTENT_TYPE = "application/problem+json"

# Most special first: the first class that fits decides.
_STATUS: tuple[tuple[type[PlatformError], int], ...] = (
    (Unauthenticated, 401),
    (Forbidden, 403),
    (NotFound, 404),
    (Conflict, 409),
    (TooSlow, 408),
    (TooLarge, 413),
    (UnsupportedMedia, 415),
    (HeadersTooLarge, 431),
    (Unsupported, 422),
    (Invalid, 422),
    (RequestError, 400),
    (RateLimited, 429),
    (DependencyDown, 503),
    (ProviderUnavailable, 503),
    (TransientError, 503),
    (PermanentError, 500),
)
_RETRY_AFTER_SECONDS = 2

# What the body of every refusal is; for documents of the API.
SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "Why a request was refused (RFC 9457). Switch on `code`; show `detail` to people; quote `request_id` to us.",
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "A stable word. More may come."},
        "detail": {"type": "string"},
        "retryable": {"type": "boolean", "description": "Whether the same request may succeed later."},
        "request_id": {"type": "string", "pattern": "^req_[0-9a-f]{32}$"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "pointer": {
                        "type": "string",
                        "description": "A JSON Pointer into the request, or a parameter's name.",
                    },
                    "code": {"type": "string"},
                    "message": {"type": "string"},
                },
                "required": ["pointer", "code", "message"],
            },
        },
    },
    "required": ["type", "title", "status", "code", "detail", "retryable", "request_id"],
}


def status_of(error: PlatformError) -> int:
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    request_id: str,
    pointer: str | None = None,
    retry_after_seconds: float | None = None,
    errors: list[dict[str, str]] | None = None,
) -> Response:
    """An answer that a machine can switch on (`code`) and a person can act on (`detail`)."""
    body: dict[str, object] = {
        "type": f"https://outrider.example.com/problems/{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
        "retryable": status in (429, 503),
        "request_id": request_id,
    }
    if pointer is not None:
        errors = [{"pointer": pointer, "code": code, "message": detail}]
    if errors:
        body["errors"] = errors
    headers = {}
    if status in (429, 503):
        headers["Retry-After"] = str(max(1, round(retry_after_seconds or _RETRY_AFTER_SECONDS)))
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(orjson.dumps(body), status, headers, CONTENT_TYPE)


def of_error(error: PlatformError, request_id: str) -> Response:
    status = status_of(error)
    if status == 500:  # what went wrong inside is for the log, not for the caller
        return problem(500, "internal", "something failed on our side; the request id finds it", request_id=request_id)
    return problem(
        status,
        error.code,
        str(error),
        request_id=request_id,
        pointer=error.pointer if isinstance(error, RequestError) else None,
        retry_after_seconds=error.retry_after_seconds if isinstance(error, TransientError) else None,
    )
