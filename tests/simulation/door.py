"""Providers post the same, and not quite the same, to two replicas of the door, which crash: each body is told once."""

from __future__ import annotations

import hashlib
from collections import Counter
from datetime import UTC, datetime
from random import Random
from uuid import UUID

from libs.ids import AccountId, OrgId
from services.webhook_ingest import domain
from services.webhook_ingest.domain import Arrival, Endpoint, First, Occurrence

_NOON = datetime(2026, 7, 11, 12, tzinfo=UTC)
_ENDPOINTS = [
    Endpoint(UUID(int=number), OrgId(UUID(int=number % 2)), AccountId(UUID(int=9)), "smartlead", (), True, 1)
    for number in range(1, 4)
]


class Store:
    """What the tables hold; a transaction is all or nothing, and an insert of what is there does nothing."""

    def __init__(self) -> None:
        self.firsts: dict[Occurrence, First] = {}
        self.variants: dict[tuple[Occurrence, bytes], UUID] = {}
        self.kept: list[domain.Judged] = []

    def keep(self, arrivals: list[Arrival], *, commits: bool) -> None:
        firsts, variants, judged = dict(self.firsts), dict(self.variants), []
        for _, mine in domain.by_org(arrivals):
            for one in domain.claims(mine):
                firsts.setdefault(one.occurrence, First(one.id, one.body_sha256))
            for one in domain.variant_claims(mine, firsts):
                variants.setdefault((one.occurrence, one.body_sha256), one.id)
            judged += [domain.judge(one, firsts, variants) for one in mine]
        if commits:
            self.firsts, self.variants = firsts, variants
            self.kept += judged


def run(rng: Random) -> None:
    posts = [
        (rng.choice(_ENDPOINTS), rng.choice((b"k1", b"k2", b"k3", None)), rng.choice((b"one", b"two", b"three")))
        for _ in range(rng.randint(1, 12))
    ]
    waiting = [post for post in posts for _ in range(rng.randint(1, 3))]
    rng.shuffle(waiting)
    store, acknowledged, number = Store(), [], 0
    while waiting:
        batch = [waiting.pop() for _ in range(min(len(waiting), rng.randint(1, 5)))]
        arrivals = []
        for endpoint, key, body in batch:
            number += 1
            arrivals.append(_arrival(number, endpoint, key, body))
        fate = rng.random()
        store.keep(arrivals, commits=fate >= 0.2)
        if fate < 0.4:  # crashed before the commit, or after it and before the answer: who posted posts again
            waiting += batch
            rng.shuffle(waiting)
        else:
            acknowledged += batch
    assert Counter(acknowledged) >= Counter(posts)
    _check(store, posts)


def _arrival(number: int, endpoint: Endpoint, key: bytes | None, body: bytes) -> Arrival:
    digest = hashlib.sha256(body).digest()
    return Arrival(UUID(int=number), endpoint, UUID(int=0), _NOON, body, digest, "{}", key, "", None, None)


def _check(store: Store, posts: list[tuple[Endpoint, bytes | None, bytes]]) -> None:
    told = [one.arrival for one in store.kept if one.is_published]
    readable = {(endpoint.id, key, body) for endpoint, key, body in posts if key is not None}
    assert Counter((one.endpoint.id, one.dedupe_key, one.body) for one in told) == Counter(readable)
    accepted = Counter(one.arrival.occurrence for one in store.kept if one.verdict == "accepted")
    assert set(accepted.values()) <= {1}
    assert set(accepted) == {(endpoint, key) for endpoint, key, _ in readable}
    ids = {one.id for one in told}
    for one in store.kept:
        assert (one.verdict == "quarantined") == (one.arrival.dedupe_key is None)
        assert (one.verdict == "duplicate") == (one.duplicate_of is not None)
        assert one.duplicate_of is None or one.duplicate_of in ids
