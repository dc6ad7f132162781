"""How simulators turn what happened into posts to be sent: repetitions, garbage, and what is kept back."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson

from libs.providers.simulation import Plan, PlannedPost, PostKind

Payload = dict[str, object]
Named = tuple[str, Payload]  # an event type and its payload


@dataclass(frozen=True, slots=True)
class Occurrence:
    """What happened, as the webhook that tells it. `message_keys` are all messages which that webhook tells."""

    at: datetime
    event_type: str
    payload: Payload
    message_keys: frozenset[str] = frozenset()


def make_plan(
    rng: random.Random,
    count: int,
    play: Callable[[int], Sequence[Occurrence]],
    *,
    duplicates: float,
    shuffle: bool,
    garbage: int,
    poison: Sequence[Named],
    unknown: Sequence[Named],
    withhold: int,
    sending: str,
    replying: str,
    never_repeated: Collection[str],
) -> Plan:
    """`count` posts to send, and `withhold` more that are not: of what `play` lets happen, and of what is odd.

    The share `duplicates` of them repeats normal posts, byte for byte, but none of the types `never_repeated`. Withheld
    are `sending` and `replying` posts of messages of which no other post tells.

    Raises:
        ValueError: `count` is too small for what is asked.
    """
    repeated = round(count * duplicates)
    normal = count - repeated - garbage - len(poison) - len(unknown)
    if normal < 1:
        raise ValueError("count leaves no room for normal posts")
    happened = play(normal + withhold)
    withheld = _withheld(rng, happened, withhold, sending, replying)
    planned: list[tuple[PostKind, bytes, str | None, frozenset[str]]] = []
    for index, occurrence in enumerate(happened):
        kind = PostKind.WITHHELD if index in withheld else PostKind.NORMAL
        planned.append((kind, orjson.dumps(occurrence.payload), occurrence.event_type, occurrence.message_keys))
    repeatable = [post for post in planned if post[0] is PostKind.NORMAL and post[2] not in never_repeated]
    if repeated and not repeatable:
        raise ValueError("nothing happened that could be repeated")
    sample = rng.sample(repeatable, min(repeated, len(repeatable)))
    sample += [rng.choice(repeatable) for _ in range(repeated - len(sample))]
    normal_body = next(body for kind, body, *_ in planned if kind is PostKind.NORMAL)
    planned += [(PostKind.DUPLICATE, body, event_type, keys) for _, body, event_type, keys in sample]
    for kind, odd in ((PostKind.UNKNOWN, unknown), (PostKind.POISON, poison)):
        planned += [(kind, orjson.dumps(payload), event_type, frozenset()) for event_type, payload in odd]
    planned += [(PostKind.GARBAGE, _garbage(rng, number, normal_body), None, frozenset()) for number in range(garbage)]
    if shuffle:
        rng.shuffle(planned)
    return Plan(
        [
            PlannedPost(number=number, kind=kind, body=body, event_type=event_type, message_keys=keys)
            for number, (kind, body, event_type, keys) in enumerate(planned)
        ]
    )


def _garbage(rng: random.Random, number: int, body: bytes) -> bytes:
    """Bytes that are no payload, each in its own way and none like another."""
    mark = f"{rng.getrandbits(32):08x}"
    ways = (
        body[: len(body) // 2] + mark.encode(),  # cut off on the way
        b"\xff\xfe\x00" + mark.encode("utf-16-le"),
        f'["{mark}"]'.encode(),
        f'{{"ping": "{mark}"}}'.encode(),
        f"<html><body>{mark}</body></html>".encode(),
    )
    return ways[number % len(ways)]


def _withheld(
    rng: random.Random, happened: Sequence[Occurrence], count: int, sending: str, replying: str
) -> set[int]:
    """The places of `count` posts without which some message is told by nobody; about a third of them replies."""
    told = Counter(key for occurrence in happened for key in occurrence.message_keys)
    sent: list[int] = []
    replies: list[int] = []
    for index, occurrence in enumerate(happened):
        own = {key for key in occurrence.message_keys if told[key] == 1}
        if occurrence.event_type == sending and own:
            sent.append(index)
        elif occurrence.event_type == replying and own:
            replies.append(index)
    if len(sent) + len(replies) < count:
        raise ValueError(f"only {len(sent) + len(replies)} posts can be withheld")
    chosen = rng.sample(replies, min(len(replies), count // 3))
    chosen += rng.sample(sent, min(len(sent), count - len(chosen)))
    chosen += [index for index in replies if index not in chosen][: count - len(chosen)]
    return set(chosen)
