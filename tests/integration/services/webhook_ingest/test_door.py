"""The door on a real database: what is answered 200 is stored, once told, and counted."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import reduce
from operator import xor
from uuid import UUID

import pytest
import structlog
from hypothesis import HealthCheck, given, settings, strategies

from libs.database.engine import Database
from libs.errors import DependencyDown
from libs.ids import OrgId, new_id
from libs.providers.registry import PROVIDERS
from libs.providers.sightings import DoorReading, Reading
from services.webhook_ingest.domain import Arrival
from services.webhook_ingest.front import Front
from tests.fixtures.database import MigratedDatabase
from tests.integration.services.webhook_ingest.conftest import Answer, Door, Mailbox, Wire, ask, mailbox, sent, until


class RolledBack(Exception):
    pass


async def ledger(door: Door) -> dict[tuple[UUID, str], tuple[int, int]]:
    """(org, state) at the door -> count, XOR of ids."""
    found: dict[tuple[UUID, str], tuple[int, int]] = {}
    for row in await door.rows("SELECT * FROM ledger WHERE hop = 'door' AND event_type = 'webhook.received.v1'"):
        count, ids = found.get((row["org_id"], row["state"]), (0, 0))
        found[row["org_id"], row["state"]] = (count + row["count"], ids ^ int.from_bytes(row["ids_xor"], "big"))
    return found


async def test_a_delivery_is_kept_told_and_answered(door: Door, boxes: tuple[Mailbox, Mailbox]) -> None:
    mine, _ = boxes
    body = sent(1)
    headers = [(b"content-type", b"application/json"), (b"authorization", b"Bearer x"), (b"x-signature", b"abc")]

    answer = await door.post(mine, body, headers=headers)

    assert (answer.status, answer.body) == (200, b"{}")
    [row] = await door.rows("SELECT * FROM deliveries")
    assert (row["id"], row["org_id"], row["endpoint_id"], row["account_id"]) == (
        answer.delivery_id,
        mine.org_id,
        mine.id,
        mine.account_id,
    )
    assert (row["body"], row["verdict"], row["event_type"]) == (body, "accepted", "EMAIL_SENT")
    assert row["headers"] == '{"x-signature": "abc", "content-type": "application/json"}'
    [event] = await door.told()
    assert (event.envelope.id, event.envelope.org_id, event.body) == (answer.delivery_id, mine.org_id, body)
    assert (event.delivery_id, event.account_id, event.endpoint_id) == (row["id"], mine.account_id, mine.id)
    assert event.received_at == row["received_at"]
    assert not event.conflicting
    assert event.envelope.traceparent is not None


async def test_concurrent_posts_share_one_commit_and_keep_their_own_traces(
    door: Door, boxes: tuple[Mailbox, Mailbox]
) -> None:
    answers = await asyncio.gather(*(door.post(boxes[i % 2], sent(i)) for i in range(100)))

    assert [answer.status for answer in answers] == [200] * 100
    [row] = await door.rows("SELECT count(DISTINCT xmin::text) AS transactions, count(*) AS rows FROM deliveries")
    assert (row["transactions"], row["rows"]) == (1, 100)
    told = await door.told()
    assert len({event.envelope.traceparent for event in told}) == 100
    by_org = {box.org_id: {event.delivery_id for event in told if event.envelope.org_id == box.org_id} for box in boxes}
    assert by_org[boxes[0].org_id] == {answer.delivery_id for answer in answers[::2]}
    assert by_org[boxes[1].org_id] == {answer.delivery_id for answer in answers[1::2]}


async def test_a_crash_between_commit_and_reply_makes_the_next_post_a_duplicate(
    door: Door, boxes: tuple[Mailbox, Mailbox]
) -> None:
    mine, _ = boxes
    commit = door.commit

    async def commit_then_die(arrivals: Sequence[Arrival]) -> None:
        await commit(arrivals)
        raise DependencyDown("the connection died after COMMIT")

    door.commit = commit_then_die
    first = await door.post(mine, sent(1))
    door.commit = commit
    second = await door.post(mine, sent(1))

    assert (first.status, second.status) == (503, 200)
    rows = {row["id"]: row for row in await door.rows("SELECT * FROM deliveries")}
    assert rows[first.delivery_id]["verdict"] == "accepted"
    assert rows[second.delivery_id]["duplicate_of"] == first.delivery_id
    assert [event.delivery_id for event in await door.told()] == [first.delivery_id]


async def test_duplicates_within_one_flush_are_flagged(door: Door, boxes: tuple[Mailbox, Mailbox]) -> None:
    mine, _ = boxes

    answers = await asyncio.gather(*(door.post(mine, sent(1)) for _ in range(5)))

    rows = await door.rows("SELECT * FROM deliveries ORDER BY id")
    assert [row["verdict"] for row in rows] == ["accepted"] + ["duplicate"] * 4
    assert {row["duplicate_of"] for row in rows[1:]} == {answers[0].delivery_id}
    assert len(await door.told()) == 1
    assert door.commits == 1


async def test_the_same_key_with_another_body_is_told_and_flagged(door: Door, boxes: tuple[Mailbox, Mailbox]) -> None:
    mine, _ = boxes
    one, other, third = sent(1), sent(1, subject="b"), sent(1, subject="c")

    alone = await door.post(mine, one)
    # In one flush: a known body, a new one twice, and another new one.
    again, changed, changed_again, changed_more = await asyncio.gather(
        *(door.post(mine, body) for body in (one, other, other, third))
    )
    late = await door.post(mine, other)

    rows = {row["id"]: (row["verdict"], row["duplicate_of"]) for row in await door.rows("SELECT * FROM deliveries")}
    assert rows == {
        alone.delivery_id: ("accepted", None),
        again.delivery_id: ("duplicate", alone.delivery_id),
        changed.delivery_id: ("conflict", None),
        changed_again.delivery_id: ("duplicate", changed.delivery_id),
        changed_more.delivery_id: ("conflict", None),
        late.delivery_id: ("duplicate", changed.delivery_id),
    }
    assert [(event.body, event.conflicting) for event in await door.told()] == [
        (one, False),
        (other, True),
        (third, True),
    ]


async def test_orgs_and_endpoints_do_not_share_dedupe_keys(door: Door, boxes: tuple[Mailbox, Mailbox]) -> None:
    mine, theirs = boxes
    second_of_mine = mailbox(mine.org_id)
    await door.open(second_of_mine)

    together = await asyncio.gather(*(door.post(box, sent(1)) for box in (mine, theirs, second_of_mine)))
    again = await door.post(theirs, sent(1))

    verdicts = await door.verdicts()
    assert [verdicts[answer.delivery_id] for answer in together] == ["accepted"] * 3
    assert verdicts[again.delivery_id] == "duplicate"
    assert {event.envelope.org_id for event in await door.told()} == {mine.org_id, theirs.org_id}


async def test_replicas_agree_on_who_was_first(door: Door, boxes: tuple[Mailbox, Mailbox]) -> None:
    """Many small flushes at once, with the same keys in different orders, and two bodies for each key."""
    replicas = [Door(door.database, door.admin_url) for _ in range(4)]
    for replica in replicas:
        replica.build(max_batch=7)
        await replica.endpoints.refresh()
    bodies = [sent(number, subject=subject) for number in range(20) for subject in "ab"]
    posts = []
    for replica in replicas:
        for box in boxes:
            posts += [replica.post(box, body) for body in random.sample(bodies, len(bodies))]
    random.shuffle(posts)

    answers = await asyncio.gather(*posts)

    assert {answer.status for answer in answers} == {200}
    for box in boxes:
        rows = await door.rows(
            "SELECT verdict, count(*) AS n FROM deliveries WHERE org_id = $1 GROUP BY verdict", box.org_id
        )
        assert {row["verdict"]: row["n"] for row in rows} == {"accepted": 20, "conflict": 20, "duplicate": 120}
    told = await door.told()
    assert sorted(event.body for event in told) == sorted(bodies * 2)
    assert sum(event.conflicting for event in told) == 40


@pytest.mark.parametrize(("ending", "verdict"), [("commits", "duplicate"), ("rolls back", "accepted")])
async def test_who_is_first_is_known_when_the_other_transaction_ends(
    door: Door, boxes: tuple[Mailbox, Mailbox], ending: str, verdict: str
) -> None:
    mine, _ = boxes
    body, other_id = sent(1), new_id()
    key = PROVIDERS["smartlead"].webhooks.read_at_door(body).dedupe_key

    with suppress(RolledBack):
        async with door.database.transaction() as transaction:  # another replica, in the middle of its flush
            session = await transaction.as_tenant(mine.org_id)
            row = (mine.org_id, mine.id, key, hashlib.sha256(body).digest(), other_id)
            await session.execute("INSERT INTO occurrences VALUES ($1, $2, $3, $4, $5)", *row)
            post = asyncio.create_task(door.post(mine, body))
            await until(lambda: door.rows("SELECT 1 FROM pg_locks WHERE NOT granted"))
            if ending == "rolls back":
                raise RolledBack
    answer = await post

    assert answer.status == 200
    [kept] = await door.rows("SELECT verdict, duplicate_of FROM deliveries")
    assert (kept["verdict"], kept["duplicate_of"]) == (verdict, other_id if ending == "commits" else None)


async def test_garbage_is_kept_answered_and_quarantined(door: Door, boxes: tuple[Mailbox, Mailbox]) -> None:
    mine, theirs = boxes
    garbage = [
        b"",
        b"\xff\x00",
        b"[1]",
        b'{"event_type": 5}',
        b'{"event_type": "EMAIL_SENT", "a": ' + b"[" * 70 + b"]" * 70 + b"}",
        b"[" * 500_000,
        b'"' + b"\\" * 500_000 + b"[" * 65,
    ]

    answers = [await door.post(mine, body) for body in [*garbage, garbage[0]]]
    foreign = await ask(door.front, theirs.path, [b"{"])

    assert {answer.status for answer in [*answers, foreign]} == {200}
    rows = {row["id"]: row for row in await door.rows("SELECT * FROM deliveries")}
    kept = [rows[answer.delivery_id] for answer in answers]
    assert [row["body"] for row in kept] == [*garbage, garbage[0]]
    assert {row["verdict"] for row in kept} == {"quarantined"}
    assert [row["quarantine_reason"] for row in kept] == [
        "empty body",
        "not UTF-8",
        "not a JSON object",
        "no event_type",
        "nested deeper than 64 levels",
        "not JSON",
        "not JSON",
        "empty body",
    ]
    assert await door.told() == []


async def test_a_provider_this_build_does_not_know_is_kept_for_a_later_one(
    door: Door, make_org: Callable[[], OrgId]
) -> None:
    box = mailbox(make_org(), "carrierpigeon")
    await door.open(box)

    answer = await door.post(box, b"coo")

    assert answer.status == 200
    [row] = await door.rows("SELECT verdict, quarantine_reason FROM deliveries")
    assert tuple(row) == ("quarantined", "this build knows no provider carrierpigeon")


async def test_an_adapter_that_fails_costs_no_delivery(door: Door, boxes: tuple[Mailbox, Mailbox]) -> None:
    class Broken:
        def read_at_door(self, body: bytes) -> DoorReading:
            raise RecursionError(body)

        def read_webhook(self, body: bytes) -> Reading:
            raise NotImplementedError

    class Strange(Broken):
        def read_at_door(self, body: bytes) -> DoorReading:
            return DoorReading(dedupe_key=b"k" * 9000, event_type="\0\ud800" + "x" * 5000)

    statuses = []
    for reader in (Broken(), Strange()):
        providers = {"smartlead": replace(PROVIDERS["smartlead"], webhooks=reader)}
        front = Front(door.front, endpoints=door.endpoints, committer=door.committer, providers=providers)
        statuses.append((await ask(front, boxes[0].path, [b"who@example.com"])).status)

    assert statuses == [200, 200]
    rows = await door.rows("SELECT verdict, quarantine_reason, event_type FROM deliveries ORDER BY id")
    assert tuple(rows[0]) == ("quarantined", "unreadable", "")
    assert tuple(rows[1]) == ("accepted", None, "\ufffd?" + "x" * 98)


async def test_one_bad_row_among_a_hundred_fails_alone(door: Door, boxes: tuple[Mailbox, Mailbox]) -> None:
    """The database itself refuses the row, whoever asks."""
    await door.rows(
        """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
          IF position('stats-37"' IN convert_from(NEW.body, 'UTF8')) > 0 THEN RAISE 'no such row here'; END IF;
          RETURN NEW; END $$
        """
    )
    await door.rows("CREATE TRIGGER refuse BEFORE INSERT ON deliveries FOR EACH ROW EXECUTE FUNCTION refuse()")

    with structlog.testing.capture_logs() as logs:
        answers = await asyncio.gather(*(door.post(boxes[i % 2], sent(i)) for i in range(100)))

    assert [i for i, answer in enumerate(answers) if answer.status != 200] == [37]
    assert (answers[37].status, answers[37].problem["code"]) == (503, "not_kept")
    assert int(answers[37].headers["retry-after"]) >= 1
    assert set(await door.verdicts()) == {answer.delivery_id for answer in answers if answer.status == 200}
    assert len(await door.told()) == 99
    [line] = [line for line in logs if line["event"] == "delivery_not_kept"]
    assert line["delivery_id"] == str(answers[37].delivery_id)
    assert door.commits < 20  # halved, not one by one
    balance = await ledger(door)
    assert sum(count for (_, state), (count, _) in balance.items() if state == "accepted") == 99


async def test_a_database_that_is_away_acknowledges_nothing(
    door: Door, boxes: tuple[Mailbox, Mailbox], migrated: MigratedDatabase
) -> None:
    wire = Wire(migrated.url("webhook_ingest"))
    await wire.join()
    database = Database(
        replace(door.database.url, url=wire.url), service="webhook_ingest", dispatch_role=door.database.dispatch_role
    )
    far = Door(database, door.admin_url)
    await far.endpoints.refresh()
    assert (await far.post(boxes[0], sent(99))).status == 200

    await wire.cut()
    away = await asyncio.gather(*(far.post(boxes[i % 2], sent(i)) for i in range(20)))
    unknown = await far.post(mailbox(boxes[0].org_id), b"{}")
    kept_meanwhile = len(await door.verdicts())
    await wire.join(wire.port)
    back = await far.post(boxes[0], sent(0))
    await database.close()
    await wire.cut()

    for answer in [*away, unknown]:  # of an unknown token nobody can say now that it is none
        assert (answer.status, answer.problem["code"]) == (503, "dependency_down")
        assert "retry-after" in answer.headers
    assert kept_meanwhile == 1
    assert back.status == 200
    assert len(await door.verdicts()) == len(await door.told()) == 2


async def test_a_client_that_leaves_takes_only_its_own_answer_along(door: Door, boxes: tuple[Mailbox, Mailbox]) -> None:
    entered, go = asyncio.Event(), asyncio.Event()
    commit = door.commit

    async def slow(arrivals: Sequence[Arrival]) -> None:
        entered.set()
        await go.wait()
        await commit(arrivals)

    door.commit = slow
    posts = [asyncio.create_task(door.post(boxes[i % 2], sent(i))) for i in range(10)]
    await entered.wait()
    late = [asyncio.create_task(door.post(boxes[i % 2], sent(i))) for i in range(10, 20)]
    await asyncio.sleep(0)
    posts[3].cancel()
    late[3].cancel()
    await asyncio.sleep(0)
    go.set()
    answers = await asyncio.gather(*posts, *late, return_exceptions=True)

    assert [i for i, answer in enumerate(answers) if isinstance(answer, asyncio.CancelledError)] == [3, 13]
    assert [answer.status for answer in answers if isinstance(answer, Answer)] == [200] * 18
    assert len(await door.verdicts()) == 20
    assert door.commits == 2


async def test_what_entered_equals_what_became_of_it(door: Door, boxes: tuple[Mailbox, Mailbox]) -> None:
    bodies = [sent(1), sent(1), sent(1, subject="b"), b"garbage", sent(2), sent(2, subject="c"), sent(2, subject="c")]

    answers = [(box, await door.post(box, body)) for box in boxes for body in bodies]
    more = await asyncio.gather(*(door.post(boxes[0], body) for body in bodies))

    balance = await ledger(door)
    for box, expected in zip(boxes, [14, 7], strict=True):
        ids = [answer.delivery_id for one, answer in answers if one is box]
        ids += [answer.delivery_id for answer in more] if box is boxes[0] else []
        states = {state: balance[org, state] for org, state in balance if org == box.org_id}
        assert set(states) == {"accepted", "published", "duplicate", "quarantined"}
        accepted = states.pop("accepted")
        assert accepted == (expected, reduce(xor, (one.int for one in ids)))
        assert accepted[0] == sum(count for count, _ in states.values())
        assert accepted[1] == reduce(xor, (ids_xor for _, ids_xor in states.values()))
        sent_rows = await door.rows(
            "SELECT sum(count) AS n FROM ledger WHERE org_id = $1 AND hop = 'webhook.received.v1' AND state = 'sent'",
            box.org_id,
        )
        assert sent_rows[0]["n"] == states["published"][0] == 4


async def test_the_rows_of_another_org_cannot_be_read(door: Door, boxes: tuple[Mailbox, Mailbox]) -> None:
    mine, theirs = boxes
    await asyncio.gather(*(door.post(box, body) for box in boxes for body in (sent(1), sent(1), sent(1, subject="b"))))

    async with door.database.tenant_transaction(mine.org_id) as session:
        for table in ("endpoints", "deliveries", "occurrences", "occurrence_variants"):
            orgs = await session.fetch(f"SELECT DISTINCT org_id FROM {table}")
            assert [row["org_id"] for row in orgs] == [mine.org_id]
            assert await session.execute(f"UPDATE {table} SET org_id = org_id WHERE org_id = $1", theirs.org_id) == 0


async def any_bytes_survive(door: Door, box: Mailbox, bodies: Sequence[bytes]) -> None:
    answers = await asyncio.gather(*(door.post(box, body) for body in bodies))

    assert {answer.status for answer in answers} == {200}
    kept = {row["id"]: row["body"] for row in await door.rows("SELECT id, body FROM deliveries")}
    assert [kept[answer.delivery_id] for answer in answers] == list(bodies)
    told = await door.told()
    assert {event.delivery_id for event in told} == {
        delivery for delivery, verdict in (await door.verdicts()).items() if verdict in ("accepted", "conflict")
    }
    assert all(event.body == kept[event.delivery_id] for event in told)


@pytest.mark.parametrize("examples", [400, pytest.param(20_000, marks=pytest.mark.heavy)])
async def test_any_bytes_are_kept_as_they_came(door: Door, boxes: tuple[Mailbox, Mailbox], examples: int) -> None:
    bodies: list[bytes] = []

    @settings(max_examples=examples, suppress_health_check=list(HealthCheck), database=None)
    @given(any_body)
    def gather(body: bytes) -> None:
        bodies.append(body)

    gather()
    for start in range(0, len(bodies), 500):
        await any_bytes_survive(door, boxes[0], bodies[start : start + 500])
        await door.rows("TRUNCATE deliveries, outbox, occurrences, occurrence_variants, ledger")


def _payload(event: object) -> bytes:
    return json.dumps(event).encode("utf-8", "surrogatepass")


_json = strategies.recursive(
    strategies.none()
    | strategies.booleans()
    | strategies.integers()
    | strategies.floats()
    | strategies.text(strategies.characters()),
    lambda inner: strategies.lists(inner) | strategies.dictionaries(strategies.text(strategies.characters()), inner),
    max_leaves=10,
)
any_body = (
    strategies.binary(max_size=200)
    | strategies.text(strategies.characters()).map(lambda text: text.encode("utf-8", "surrogatepass"))
    | _json.map(lambda value: json.dumps(value).encode())
    | strategies.integers(0, 300).map(
        lambda depth: b'{"event_type":"EMAIL_SENT","a":' + b"[" * depth + b"]" * depth + b"}"
    )
    | strategies.fixed_dictionaries(
        {"event_type": strategies.sampled_from(["EMAIL_SENT", "EMAIL_REPLY", "LEAD_UNSUBSCRIBED"]) | strategies.text()},
        optional=dict.fromkeys(
            ("event_timestamp", "to_email", "stats_id", "campaign_id", "link_clicked", "lead"), _json
        ),
    ).map(_payload)
)
