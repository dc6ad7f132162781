"""Gauges: the newest value of each is exported, and one that nobody looks after any more is not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from libs.observability import metrics


@pytest.fixture
def reader() -> Iterator[InMemoryMetricReader]:
    metrics.forget(metrics.UNACCOUNTED)  # another test of this process may have looked
    made = InMemoryMetricReader()
    metrics.setup("analytics", endpoint=None, reader=made)
    yield made
    metrics.shutdown()
    metrics.forget(metrics.UNACCOUNTED)


def _exported(reader: InMemoryMetricReader) -> dict[str, list[float]]:
    data = reader.get_metrics_data()
    if data is None:
        return {}
    (resource,) = data.resource_metrics
    assert resource.resource.attributes["service.name"] == "analytics"
    found = [metric for scope in resource.scope_metrics for metric in scope.metrics]
    return {metric.name: [getattr(point, "value", -1) for point in metric.data.data_points] for metric in found}


def test_the_newest_value_is_exported_until_it_is_forgotten(reader: InMemoryMetricReader) -> None:
    assert metrics.value(metrics.UNACCOUNTED) is None
    metrics.record(metrics.UNACCOUNTED, 3)
    metrics.record(metrics.UNACCOUNTED, 2)

    assert _exported(reader)[metrics.UNACCOUNTED] == [2]
    assert metrics.value(metrics.UNACCOUNTED) == 2

    metrics.forget(metrics.UNACCOUNTED)
    assert not _exported(reader).get(metrics.UNACCOUNTED)


def test_a_name_that_is_not_listed_is_refused() -> None:
    with pytest.raises(KeyError):
        metrics.record("made_up", 1)
