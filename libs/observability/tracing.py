"""Traces that stay one graph from a provider's POST to a projection.

An event carries the context in which it was made (`traceparent`, sealed into its bytes), so outbox, broker, retry and replay
need no memory of it. One event handled alone continues its trace; a batch continues that of its first sampled event and
links to all of them.
Nothing is exported unless an OTLP endpoint is set; contexts are made all the same, so logs can be joined by trace id.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, TraceIdRatioBased
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, StatusCode, TraceFlags

from libs.observability.reasons import reason_of

__all__ = ["SpanKind", "current_traceparent", "setup", "span"]

_MAX_LINKS = 200  # a batch's size; OTel's own default of 128 would cut it silently


class _State:
    provider: TracerProvider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    tracer = provider.get_tracer("outrider")  # kept: asking anew costs as much as the span
    exporting = False


def setup(service: str, *, endpoint: str | None, ratio: float = 0.05, exporter: SpanExporter | None = None) -> None:
    """Name this process and, given an endpoint (or an exporter, in tests), export `ratio` of new traces."""
    if endpoint is None and exporter is None:
        return
    if exporter is None:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (
            OTLPSpanExporter,  # slow to import, seldom wanted
        )

        exporter = OTLPSpanExporter(endpoint=endpoint, insecure=(endpoint or "").startswith("http://"))
    provider = TracerProvider(
        resource=Resource.create({"service.name": service}),
        sampler=ParentBased(TraceIdRatioBased(ratio)),
        span_limits=SpanLimits(max_links=_MAX_LINKS),
    )
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=500))
    _State.provider, _State.tracer, _State.exporting = provider, provider.get_tracer("outrider"), True


def shutdown() -> None:
    """Send what is still here; to be called once, last."""
    _State.provider.shutdown()


def flush() -> None:
    _State.provider.force_flush()


def current_traceparent() -> str | None:
    """The W3C header of the running span, to be sealed into an event or sent along."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


def _parse(traceparent: str | None) -> SpanContext | None:
    parts = (traceparent or "").split("-")
    if len(parts) != 4 or len(parts[1]) != 32 or len(parts[2]) != 16:
        return None
    try:
        context = SpanContext(
            int(parts[1], 16), int(parts[2], 16), is_remote=True, trace_flags=TraceFlags(int(parts[3], 16))
        )
    except ValueError:
        return None
    return context if context.is_valid else None


def trace_id_of(traceparent: str | None) -> str | None:
    """For the log line of an event: the trace in which it was said, also when it was handled in a batch."""
    context = _parse(traceparent)
    return None if context is None else f"{context.trace_id:032x}"


@contextmanager
def span(name: str, kind: SpanKind, *, causes: Iterable[str | None] = (), events: int = 1) -> Iterator[Span]:
    """Run the block in a span. `causes` are traceparents: all are linked, the first sampled one is the parent.

    `events` is how many events the block is about.
    """
    contexts = [context for context in map(_parse, causes) if context is not None]
    parent = trace.set_span_in_context(NonRecordingSpan(contexts[0])) if len(contexts) == 1 else None
    links: list[Link] = []
    if _State.exporting and contexts:
        if len(contexts) > 1 and any(context.trace_flags.sampled for context in contexts):
            # A batch is worth a trace as soon as one of its events is: take that one's decision, keep the links.
            chosen = next(context for context in contexts if context.trace_flags.sampled)
            parent = trace.set_span_in_context(NonRecordingSpan(chosen))
        links = [Link(context) for context in contexts[:_MAX_LINKS]]
    with _State.tracer.start_as_current_span(
        name,
        context=parent,
        kind=kind,
        links=links,
        attributes={"messaging.batch.message_count": events},
        record_exception=False,
        set_status_on_exception=False,
    ) as running:
        try:
            yield running
        except Exception as error:
            running.set_status(StatusCode.ERROR, reason_of(error))  # OTel's own would hold the message, payload and all
            raise
