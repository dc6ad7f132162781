"""Statements about one entity come in any order, again and again, to two workers that crash: the newest of each field stays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import reduce
from random import Random
from typing import Any
from uuid import UUID

from libs.ids import AccountId
from libs.providers.sightings import Source
from services.provider_sync.domain import merging
from services.provider_sync.domain.merging import Row, State

_NOON = datetime(2026, 7, 11, 12, tzinfo=UTC)
_ID, _ACCOUNT = UUID(int=1), AccountId(UUID(int=2))
_FIELDS = ("name", "status", "email", "sent")
_VALUES: tuple[Any, ...] = ("a", "b", "", 0, 7, None, 2**40, {"x": "1"})


def run(rng: Random) -> None:
    stated = [_statement(rng) for _ in range(rng.randint(1, 8))]
    waiting = [one for one in stated for _ in range(rng.randint(1, 3))]
    rng.shuffle(waiting)
    row: Row | None = None
    while waiting:
        batch = [waiting.pop() for _ in range(min(len(waiting), rng.randint(1, 4)))]
        joined = merging.join(row, reduce(merging.merge, batch))
        fate = rng.random()
        if fate < 0.15:  # crashed before the commit
            waiting += batch
            rng.shuffle(waiting)
            continue
        _check_forward(row, joined.row)
        assert joined.moved or not joined.changed
        row = joined.row
        if fate < 0.3:  # crashed after it, before the ack
            waiting += batch[: rng.randint(1, len(batch))]
    assert row is not None
    _check_newest(row, stated)


def _statement(rng: Random) -> State:
    chosen = rng.sample(_FIELDS, rng.randint(1, len(_FIELDS)))
    at = _NOON + timedelta(seconds=rng.randint(-2, 2))  # often at the same time
    source = rng.choice(list(Source))
    fields = merging.state({name: rng.choice(_VALUES) for name in chosen}, at, source)
    return State(_ID, _ACCOUNT, (), fields, merging.bit(source))


def _check_forward(before: Row | None, after: Row) -> None:
    for name, version in (before.versions if before else {}).items():
        assert after.versions[name] >= version, f"{name} went back"


def _check_newest(row: Row, stated: list[State]) -> None:
    newest: dict[str, Any] = {}
    for one in stated:
        for name, said in one.fields.items():
            if name not in newest or said.version > newest[name].version:
                newest[name] = said
    assert row.versions == {name: said.version for name, said in newest.items()}
    assert row.values == {name: said.value for name, said in newest.items()}
    assert row.sources == reduce(lambda known, one: known | one.sources, stated, 0)
    for one in stated:
        assert not merging.is_news(one, row.versions, row.sources)
        again = merging.join(row, one)
        assert not again.moved
        assert not again.changed
