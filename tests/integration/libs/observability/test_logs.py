"""What this process says: one JSON object a line, with the ids that find the rest, and nothing of what people wrote."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest
import structlog

from libs.contracts.events import OrganizationCreatedV1
from libs.messaging.work import UnitOfWork
from libs.observability import logs, tracing
from tests.fixtures.database import MigratedDatabase
from tests.integration.libs.messaging.house import House, open_house, until

TENANTS = "analytics.tenants"
PAYLOAD = "Jane Doe's Agency"


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """`said()`: all lines so far, each parsed. Logging is as in a service while the test runs."""
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    config, root = structlog.get_config(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    logs.setup("analytics", "debug")
    yield lambda: [json.loads(line) for line in stderr.getvalue().splitlines()]
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**config)
    structlog.contextvars.clear_contextvars()


@pytest.fixture
async def house(migrated: MigratedDatabase) -> AsyncIterator[House]:
    async with open_house(migrated, None) as opened:
        yield opened


async def test_each_message_ends_in_one_line_with_its_ids_and_without_its_body(
    said: Any, house: House, make_org: Any
) -> None:
    async def stumble(events: Sequence[OrganizationCreatedV1], work: UnitOfWork) -> None:
        for event in events:
            if event.name != "fine":
                await work.session.execute(
                    "INSERT INTO heard_names (org_id, name) VALUES ($1, $2)", event.name, event.name
                )

    house.hooks[TENANTS] = stumble
    org = make_org()
    with tracing.span("request", tracing.SpanKind.SERVER) as span:
        bad, good = await house.tell(org, PAYLOAD, "fine")
    house.start()
    await until(lambda: _settled(house, 2))

    lines = said()
    handled = [line for line in lines if line["event"] == "message_handled" and line["queue"] == TENANTS]
    ends = {line["event_id"]: line for line in handled if line["outcome"] != "due"}
    assert {line["event_id"]: line["outcome"] for line in ends.values()} == {str(bad.id): "dead", str(good.id): "ok"}
    for line in handled:
        assert line["trace_id"] == f"{span.get_span_context().trace_id:032x}"
        assert (line["org_id"], line["type"]) == (str(org), "organization.created.v1")
        assert line["correlation_id"] in (str(bad.id), str(good.id))
        assert {"service", "level", "timestamp", "seconds"} <= line.keys()
    dead = ends[str(bad.id)]
    assert (dead["level"], dead["error"]) == ("error", "DataError")
    assert "in stumble" in dead["exception"]
    assert not [line for line in lines if "Jane" in json.dumps(line)]


def test_a_line_inside_a_span_tells_where_it_belongs(said: Any) -> None:
    with tracing.span("work", tracing.SpanKind.INTERNAL) as span:
        logs.get_logger().info("reply_recorded", lead_id="1")

    (line,) = said()
    context = span.get_span_context()
    assert (line["trace_id"], line["span_id"]) == (f"{context.trace_id:032x}", f"{context.span_id:016x}")
    assert (line["event"], line["service"], line["level"], line["lead_id"]) == (
        "reply_recorded",
        "analytics",
        "info",
        "1",
    )


def test_libraries_speak_json_too_and_only_when_it_matters(said: Any) -> None:
    logging.getLogger("some.library").info("chatter")
    logging.getLogger("some.library").warning("slow: %s s", 3)
    try:
        int("Jane")
    except ValueError:
        logging.getLogger("some.library").exception("it failed\nover two lines")

    slow, failed = said()
    assert (slow["event"], slow["level"], slow["service"]) == ("slow: 3 s", "warning", "analytics")
    assert failed["event"] == "it failed\nover two lines"
    assert "ValueError" in failed["exception"]
    assert "Jane" not in failed["exception"].replace('int("Jane")', "")  # a line of code is ours, its message is not


def test_what_is_below_the_level_is_not_said(said: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    logs.setup("analytics", "warning")

    logs.get_logger().info("quiet")
    logs.get_logger().warning("loud")

    assert [json.loads(line)["event"] for line in stderr.getvalue().splitlines()] == ["loud"]


async def _settled(house: House, count: int) -> bool:
    return [row["state"] in ("done", "dead") for row in await house.inbox(TENANTS)] == [True] * count
