"""Whatever Schemathesis thinks of, the API answers as its document says."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import structlog

from services.cli import openapi
from tests.contract.http.fuzzing import SHARE, fuzz
from tests.contract.http.sound import ENDS_AN_ORGANIZATION, NEEDS_A_LIVING_REPLAY, NEEDS_A_LOST_ANSWER, OFFERED_BY_NONE
from tests.fixtures.database import MigratedDatabase
from tests.security.matrix.world import made_world

CHECKS = {
    "allow_header_conformance", "content_type_conformance", "ensure_resource_availability", "ignored_auth",
    "missing_required_header", "negative_data_rejection", "not_a_server_error", "positive_data_acceptance",
    "response_headers_conformance", "response_schema_conformance", "status_code_conformance", "unsupported_method",
    "use_after_free",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """A line for each of thousands of calls would bury what failed."""
    config = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**config)


@pytest.mark.parametrize(
    ("examples", "whole"), [(4, False), pytest.param(60, True, marks=pytest.mark.heavy)], ids=["quick", "whole"]
)
async def test_every_operation_keeps_its_word(migrated: MigratedDatabase, examples: int, whole: bool) -> None:
    async with made_world(migrated, small=not whole) as world:
        report = await fuzz(world, examples=examples, whole=whole)

    print(f"\n{report}")  # noqa: T201
    assert not report.problems, "\n\n".join(f"{problem}\n{how}" for problem, how in report.problems.items())
    operations = {
        f"{method.upper()} {path}" for path, methods in openapi.document()["paths"].items() for method in methods
    }
    operations -= OFFERED_BY_NONE | NEEDS_A_LOST_ANSWER | NEEDS_A_LIVING_REPLAY | ENDS_AN_ORGANIZATION
    meaningless = {operation: f"{share:.0%}" for operation in operations if (share := report.share(operation)) < SHARE}
    assert not meaningless, (
        "give them a probe in tests/security/matrix/probes.py, or their fields a meaning in sound.py"
    )
    assert report.checks.keys() >= CHECKS
