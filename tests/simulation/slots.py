"""Two leaders start the slots of a schedule by a clock that jumps, while somebody edits it: each slot starts once, or never."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

from services.reconciliation.domain.slots import Timetable, Verdict, new_timetable

_NOON = datetime(2026, 7, 11, 12, tzinfo=UTC)


def run(rng: Random) -> None:
    moment = _NOON
    table = new_timetable(
        moment,
        anchor=rng.choice((None, moment + timedelta(seconds=rng.randint(-5000, 5000)))),
        interval_seconds=rng.choice((300, 600, 3600)),
        enabled=True,
    )
    started: list[datetime] = []
    skipped: set[datetime] = set()
    believed: list[datetime] = []  # slots that a leader found due, and has not started yet
    for _ in range(rng.randint(10, 60)):
        moment += timedelta(seconds=rng.choice((1, 60, 299, 400, 4000, 100_000, -30, -700)))
        act = rng.random()
        if act < 0.1:
            table = _edited(rng, table, moment)
        elif act < 0.5 or not believed:
            found = table.newest_due(moment)
            if found is not None:
                assert table.judge(found, moment) is Verdict.DUE
                believed.append(found)
        else:
            slot = rng.choice(believed)
            if table.judge(slot, moment) is not Verdict.DUE:
                continue
            missed = table.missed_before(slot, 100)
            if rng.random() < 0.2:
                continue  # crashed before the commit
            assert table.enabled
            assert slot <= moment
            assert slot not in started, "started twice"
            assert not started or slot > started[-1], "started an older one"
            assert slot not in skipped
            assert all(one < slot and one not in started for one in missed)
            started.append(slot)
            skipped.update(missed)
            table = table.after(slot)
            assert table.judge(slot, moment) is Verdict.OVER


def _edited(rng: Random, table: Timetable, moment: datetime) -> Timetable:
    changed = table.changed(
        moment.replace(microsecond=0),
        anchor=rng.choice((table.anchor, table.anchor + timedelta(seconds=rng.randint(-900, 900)))),
        interval_seconds=rng.choice((table.interval_seconds, 300, 600)),
        enabled=rng.random() < 0.8,
    )
    assert changed.last_slot == table.last_slot
    return changed
