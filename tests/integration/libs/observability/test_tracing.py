"""From a request to what a consumer says in turn: one graph of spans, alone and in batches, over both transports."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import Query
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from libs.contracts import envelope as envelopes
from libs.contracts.events import CompanyCreatedV1, OrganizationCreatedV1
from libs.ids import OrgId, new_id
from libs.messaging import topology
from libs.messaging.work import UnitOfWork
from libs.observability import tracing
from libs.web.app import make_app
from tests.fixtures.database import MigratedDatabase
from tests.integration.libs.messaging.house import LISTENERS, House, open_house, until

TENANTS = "analytics.tenants"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """Every span that ends is exported here."""
    before = (tracing._State.provider, tracing._State.tracer, tracing._State.exporting)
    exporter = InMemorySpanExporter()
    tracing.setup("house", endpoint=None, ratio=1.0, exporter=exporter)
    yield exporter
    tracing.shutdown()
    tracing._State.provider, tracing._State.tracer, tracing._State.exporting = before


@pytest.fixture(params=["in_process", "rabbitmq"])
async def house(
    request: pytest.FixtureRequest, migrated: MigratedDatabase, spans: InMemorySpanExporter
) -> AsyncIterator[House]:
    amqp_url = None
    if request.param == "rabbitmq":
        amqp_url = request.getfixturevalue("rabbit_server").new_vhost()
        await topology.declare(amqp_url)
    async with open_house(migrated, amqp_url) as opened:
        yield opened


@pytest.fixture
async def http(house: House) -> AsyncIterator[httpx.AsyncClient]:
    """A service whose one route tells an event."""

    async def ready() -> str:
        return ""

    app = make_app("gateway", ready=ready)

    async def tell(org: str = Query(), name: str = Query()) -> None:
        await house.tell(OrgId(UUID(org)), name)

    app.add_api_route("/tell", tell, methods=["POST"])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        yield client


async def _answer(events: Sequence[OrganizationCreatedV1], work: UnitOfWork) -> None:
    for event in events:
        work.publish(CompanyCreatedV1(company_id=new_id(), name=event.name), cause=event.envelope)


async def test_one_event_continues_the_trace_of_the_request_and_so_does_its_effect(
    house: House, http: httpx.AsyncClient, spans: InMemorySpanExporter, make_org: Any
) -> None:
    house.hooks[TENANTS] = _answer
    house.start()

    given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer = await http.post("/tell", params={"org": str(make_org()), "name": "one"}, headers={"traceparent": given})
    assert answer.status_code == 200
    await until(lambda: _all_have(house, 1))

    request = _one(spans, "POST http")
    process = _one(spans, f"process {TENANTS}")
    assert f"{_context(request).trace_id:032x}" == given.split("-")[1]
    assert (process.parent and process.parent.span_id) == _context(request).span_id
    (effect,) = await house.query("SELECT envelope FROM analytics.outbox WHERE type = 'company.created.v1'")
    assert envelopes.read(effect["envelope"]).traceparent == _traceparent(process)
    if house.amqp_url is not None:
        publish = _one(spans, "publish organization.created.v1")
        assert (publish.parent and publish.parent.span_id) == _context(request).span_id
    assert {_context(span).trace_id for span in spans.get_finished_spans()} == {_context(request).trace_id}


async def test_a_batch_is_linked_to_every_request_that_is_in_it(
    house: House, http: httpx.AsyncClient, spans: InMemorySpanExporter, make_org: Any
) -> None:
    house.hooks[TENANTS] = _answer
    for n in range(5):
        await http.post("/tell", params={"org": str(make_org()), "name": f"n{n}"})
    house.start()
    await until(lambda: _all_have(house, 5))

    requests = {_context(span).span_id for span in _all(spans, "POST http")}
    assert len({_context(span).trace_id for span in _all(spans, "POST http")}) == 5
    for name in [f"process {queue}" for queue in LISTENERS.values()]:
        batch = _one(spans, name)
        assert {link.context.span_id for link in batch.links} == requests
        assert (batch.attributes or {})["messaging.batch.message_count"] == 5
    effects = await house.query("SELECT envelope FROM analytics.outbox WHERE type = 'company.created.v1'")
    batch = _one(spans, f"process {TENANTS}")
    assert {envelopes.read(row["envelope"]).traceparent for row in effects} == {_traceparent(batch)}
    assert _graphs(spans.get_finished_spans()) == 1


async def test_a_retry_is_in_the_trace_of_its_event(
    house: House, http: httpx.AsyncClient, spans: InMemorySpanExporter, make_org: Any
) -> None:
    failures = 0

    async def stumble(_: Sequence[OrganizationCreatedV1], __: UnitOfWork) -> None:
        nonlocal failures
        failures += 1
        if failures == 1:
            raise ZeroDivisionError

    house.hooks[TENANTS] = stumble
    house.start()
    await http.post("/tell", params={"org": str(make_org()), "name": "one"})
    await until(lambda: _all_have(house, 1))

    attempts = _all(spans, f"process {TENANTS}")
    assert [span.status.is_ok for span in attempts] == [False, True]
    assert _graphs(spans.get_finished_spans()) == 1


def test_a_full_batch_keeps_all_its_links(spans: InMemorySpanExporter) -> None:
    causes = [f"00-{n:032x}-{n:016x}-01" for n in range(1, 201)]

    with tracing.span("process a.b", tracing.SpanKind.CONSUMER, causes=causes, events=200):
        pass

    assert len(_one(spans, "process a.b").links) == 200


@pytest.mark.parametrize(
    "cause", ["", "00", "00-xyz-abc-01", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "é" * 55, None]
)
def test_a_broken_trace_context_starts_a_new_trace(spans: InMemorySpanExporter, cause: str | None) -> None:
    with tracing.span("alone", tracing.SpanKind.CONSUMER, causes=[cause]):
        pass

    assert _one(spans, "alone").parent is None


def test_an_error_in_a_span_leaves_no_message_in_it(spans: InMemorySpanExporter) -> None:
    def fail() -> None:
        with tracing.span("fails", tracing.SpanKind.CONSUMER):
            raise ValueError("no 'Jane Doe' here")

    with pytest.raises(ValueError, match="Jane"):
        fail()

    assert "Jane" not in _one(spans, "fails").to_json()


# Small questions


def _all(spans: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    tracing.flush()
    found = [span for span in spans.get_finished_spans() if span.name == name]
    return sorted(found, key=lambda span: span.start_time or 0)


def _one(spans: InMemorySpanExporter, name: str) -> ReadableSpan:
    (found,) = _all(spans, name)
    return found


def _context(span: ReadableSpan) -> Any:
    assert span.context is not None
    return span.context


def _traceparent(span: ReadableSpan) -> str:
    context = _context(span)
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


def _graphs(spans: Sequence[ReadableSpan]) -> int:
    """How many graphs the spans form, joined by trace and by link."""
    group = {_context(span).trace_id: _context(span).trace_id for span in spans}

    def root(trace: int) -> int:
        while group[trace] != trace:
            trace = group[trace]
        return trace

    for span in spans:
        for link in span.links:
            if link.context.trace_id in group:
                group[root(_context(span).trace_id)] = root(link.context.trace_id)
    return len({root(trace) for trace in group})


async def _all_have(house: House, count: int) -> bool:
    return all([len(await house.effects(service)) == count for service in LISTENERS])
