"""Every error of the house has one status, and no 500 tells what went wrong inside."""

from __future__ import annotations

import orjson
import pytest

from libs import errors
from libs.errors import PlatformError
from libs.web import problems


def _all(kind: type[PlatformError]) -> list[type[PlatformError]]:
    return [
        kind,
        *(each for child in kind.__subclasses__() for each in _all(child) if each.__module__ == "libs.errors"),
    ]


EXPECTED = {
    "PlatformError": 500, "TransientError": 503, "RateLimited": 429, "ProviderUnavailable": 503, "DependencyDown": 503,
    "NotSent": 503,
    "PermanentError": 500, "ContractViolated": 500, "UnknownVersion": 500, "TenantMismatch": 500, "ProviderRefused": 500,
    "CredentialRefused": 500,
    "RequestError": 400, "Invalid": 422, "Unauthenticated": 401, "Forbidden": 403, "NotFound": 404, "Conflict": 409,
    "TooLarge": 413, "Unsupported": 422, "TooSlow": 408, "HeadersTooLarge": 431, "UnsupportedMedia": 415,
}  # fmt: skip


def test_the_status_of_every_error_is_decided():
    assert {kind.__name__: problems.status_of(kind("x")) for kind in _all(PlatformError)} == EXPECTED


@pytest.mark.parametrize("kind", _all(PlatformError), ids=lambda kind: kind.__name__)
def test_a_problem_document_has_its_parts(kind):
    response = problems.of_error(kind("words for the caller"), "req_1")

    document = orjson.loads(response.body)
    status = EXPECTED[kind.__name__]
    assert response.media_type == "application/problem+json"
    assert {"type", "title", "status", "code", "detail", "retryable", "request_id"} <= set(document)
    assert (document["status"], document["request_id"]) == (status, "req_1")
    assert (document["detail"] == "words for the caller") is (status != 500)
    assert ("Retry-After" in response.headers) is (status in (429, 503))
    assert ("WWW-Authenticate" in response.headers) is (status == 401)


def test_a_pointer_becomes_an_entry():
    response = problems.of_error(errors.Invalid("too long", pointer="/name"), "req_1")

    assert orjson.loads(response.body)["errors"] == [
        {"pointer": "/name", "code": "invalid_request", "message": "too long"}
    ]
