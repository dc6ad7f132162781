from __future__ import annotations

from services.gateway.memory import Recent


class Clock:
    at = 100.0

    def __call__(self) -> float:
        return self.at


def test_a_value_is_kept_from_the_look_ups_beginning():
    clock = Clock()
    recent: Recent[str, int] = Recent(3.0, clock=clock)
    clock.at = 101.0  # the look-up took a second

    recent.put("a", 1, since=100.0)

    clock.at = 102.9
    assert recent.get("a") == 1
    clock.at = 103.0
    assert recent.get("a") is None


def test_the_oldest_goes_when_it_is_full():
    recent: Recent[int, int] = Recent(3.0, most=2, clock=Clock())
    for number in (1, 2, 1, 3):
        recent.put(number, number, since=100.0)

    assert [recent.get(number) for number in (1, 2, 3)] == [1, None, 3]


def test_what_is_dropped_is_gone():
    recent: Recent[int, int] = Recent(3.0, clock=Clock())
    recent.put(1, 1, since=100.0)
    recent.drop(1)
    recent.drop(2)

    assert recent.get(1) is None
