"""Gauges: what stands now, told by whoever looks at it. All names live here; none carries an org, an address or an id as label.

A process keeps the newest value of each and, given an OTLP endpoint, exports them. A replica that no longer looks forgets
its value, so that an old one is not told for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

UNACCOUNTED = "unaccounted_messages"
OLDEST_ROW = "retention_oldest_row_age_seconds"
OLDEST_ALLOWED = "retention_oldest_row_allowed_seconds"
OPEN_BEYOND = "retention_open_rows_beyond"

# Name -> (unit, what it says).
GAUGES = {
    UNACCOUNTED: ("{message}", "events sent and not heard, or heard and not sent, once their minute has settled"),
    OLDEST_ROW: ("s", "age of the oldest row of a table that is kept for a while; labels service, table"),
    OLDEST_ALLOWED: ("s", "the age at which the policy wants that row gone at the latest; labels service, table"),
    OPEN_BEYOND: ("{row}", "rows that outlive the policy while they are open: dead letters, quarantined deliveries"),
}

_EXPORT_MS = 15_000

Labels = tuple[tuple[str, str], ...]


class _State:
    values: dict[str, dict[Labels, float]] = {name: {} for name in GAUGES}
    provider: MeterProvider | None = None


def setup(service: str, *, endpoint: str | None, reader: MetricReader | None = None) -> None:
    """Export this process's gauges to `endpoint` every 15 s (or through `reader`, in tests); without either only keep them."""
    if endpoint is None and reader is None:
        return
    if reader is None:
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import (
            OTLPMetricExporter,  # slow to import, seldom wanted
        )

        exporter = OTLPMetricExporter(endpoint=endpoint, insecure=(endpoint or "").startswith("http://"))
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=_EXPORT_MS)
    provider = MeterProvider([reader], Resource.create({"service.name": service}), shutdown_on_exit=False)
    meter = provider.get_meter("outrider")
    for name, (unit, description) in GAUGES.items():
        meter.create_observable_gauge(name, [_observer(name)], unit=unit, description=description)
    _State.provider = provider


def _observer(name: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
    return lambda _: [Observation(value, dict(labels)) for labels, value in list(_State.values[name].items())]


def record(name: str, value: float, **labels: str) -> None:
    """Keep `value` as what stands now; `name` is one of GAUGES."""
    _State.values[name][tuple(sorted(labels.items()))] = value


def forget(name: str) -> None:
    """This process no longer looks: it tells no value of this gauge."""
    _State.values[name].clear()


def value(name: str, **labels: str) -> float | None:
    """What was recorded last, or None."""
    return _State.values[name].get(tuple(sorted(labels.items())))


def shutdown() -> None:
    """Send what is still here; to be called once, last."""
    if _State.provider is not None:
        _State.provider.shutdown()
        _State.provider = None
