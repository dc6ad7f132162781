"""The trace starts at the door, and no trace, log or answer repeats a token."""

from __future__ import annotations

import pytest
import structlog
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from libs.observability import tracing
from tests.integration.services.webhook_ingest.conftest import Door, Mailbox, ask, sent


async def test_the_event_belongs_to_its_requests_span(
    door: Door, boxes: tuple[Mailbox, Mailbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing._State, "provider", tracing._State.provider)
    monkeypatch.setattr(tracing._State, "tracer", tracing._State.tracer)
    monkeypatch.setattr(tracing._State, "exporting", False)
    spans = InMemorySpanExporter()
    tracing.setup("webhook-ingest", endpoint=None, ratio=1.0, exporter=spans)
    theirs = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"

    with structlog.testing.capture_logs() as logs:
        accepted = await door.post(boxes[0], sent(1), headers=[(b"traceparent", theirs.encode())])
        refused = await ask(door.front, boxes[0].path + "x")
    tracing.flush()

    [event] = await door.told()
    first, second = spans.get_finished_spans()
    assert first.kind == second.kind == SpanKind.SERVER
    assert first.name == "POST /webhooks/{provider}/***"
    context = first.get_span_context()
    assert context is not None
    assert event.envelope.traceparent is not None
    assert event.envelope.traceparent.startswith(f"00-{context.trace_id:032x}-{context.span_id:016x}-")
    assert "a" * 32 not in event.envelope.traceparent  # an outsider does not choose our traces
    secret = boxes[0].token.partition("_")[2]
    for told in (accepted, refused, logs, first.to_json(), second.to_json(), event.envelope.raw):
        assert secret not in str(told)
