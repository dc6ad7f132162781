"""Inner HTTP of dead letters and replays: every service answers for its own, with the same routes."""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Response

from libs.clock import now
from libs.errors import Forbidden, NotFound
from libs.ids import parse_public_id, public_id
from libs.messaging import groups, letters, replays
from libs.messaging.editing import EditingIsOff, edit
from libs.messaging.groups import GroupQuery, Groups, group_id
from libs.messaging.replays import Letters
from libs.messaging.work import UnitOfWork
from libs.web.cursors import Cursors, page
from libs.web.failure_schemas import (
    ApplyIn,
    EditIn,
    GroupChangeIn,
    GroupDetailOut,
    GroupPage,
    GroupsQuery,
    LetterOut,
    ReplayIn,
    ReplayOut,
    ReplayPage,
    ReplaysQuery,
)
from libs.web.tenant import InnerHop


def failure_routes(hop: InnerHop, cursors: Cursors, source: str, *, may_edit: bool = False) -> APIRouter:
    """`source` is the process's name, which its ids bear: `fgr_provider-sync_…`, `dlt_provider-sync_webhooks_…`, `rpl_…`.

    `may_edit`: this deployment lets people put a letter's content right.
    """
    router = APIRouter()
    ids = Ids(source)

    @router.get("/dead-letter-groups")
    async def list_groups(
        query: Annotated[GroupsQuery, Query()], work: UnitOfWork = hop.work("dead_letters:read")
    ) -> GroupPage:
        _of_all(work)
        _check_service(query.service, source)
        name = f"groups {query.model_dump(exclude={'limit', 'after'})}"
        position = cursors.read(query.after, org_id=work.org_id, query=name)
        chosen = GroupQuery(query.status, query.consumer, query.error_class, query.provider, query.with_letters)
        before = (datetime.fromisoformat(position[0]), UUID(position[1])) if position else None
        rows, more = page(await Groups(work.session).page(chosen, before=before, limit=query.limit + 1), query.limit)
        last = [rows[-1]["last_seen"].isoformat(), rows[-1]["id"]] if more else []
        return GroupPage.model_validate(
            {
                "data": [ids.shown_group(row) for row in rows],
                "has_more": more,
                "next_cursor": cursors.write(last, org_id=work.org_id, query=name) if more else None,
                "as_of": now(),
            }
        )

    @router.get("/dead-letter-groups/{group_id}")
    async def show_group(group_id: str, work: UnitOfWork = hop.work("dead_letter_bodies:read")) -> GroupDetailOut:
        _of_all(work)
        return GroupDetailOut.model_validate(ids.shown_group(await Groups(work.session).get(ids.group(group_id))))

    @router.patch("/dead-letter-groups/{group_id}")
    async def change_group(
        group_id: str, body: GroupChangeIn, work: UnitOfWork = hop.work("dead_letters:write")
    ) -> GroupDetailOut:
        _of_all(work)
        changed = await groups.change(
            work, ids.group(group_id), revision=body.revision, status=body.status, note=body.note, public_id=group_id
        )
        return GroupDetailOut.model_validate(ids.shown_group(changed))

    @router.get("/dead-letters/{letter_id}")
    async def show_letter(letter_id: str, work: UnitOfWork = hop.work("dead_letter_bodies:read")) -> LetterOut:
        _of_all(work)
        consumer, event_id = ids.letter(letter_id)
        return LetterOut.model_validate(ids.shown_letter(await letters.get(work.session, consumer, event_id), work))

    @router.post("/dead-letters/{letter_id}/edits")
    async def edit_letter(letter_id: str, body: EditIn, work: UnitOfWork = hop.work("dead_letters:write")) -> LetterOut:
        _of_all(work)
        consumer, event_id = ids.letter(letter_id)
        if not may_edit:
            raise EditingIsOff
        await edit(
            work, consumer, event_id, sha256=body.sha256, data=body.data, binary=body.binary(), reason=body.reason,
            public_id=letter_id,
        )  # fmt: skip
        return LetterOut.model_validate(ids.shown_letter(await letters.get(work.session, consumer, event_id), work))

    @router.post("/replays", status_code=201)
    async def plan(body: ReplayIn, response: Response, work: UnitOfWork = hop.work("replays:write")) -> ReplayOut:
        _of_all(work)
        _check_service(body.service, source)
        made = await replays.plan(
            work, ids.chosen(body), body.pace(), action=body.action, most=body.max, public_prefix=f"rpl_{source}"
        )
        response.headers["Location"] = f"/v1/replays/{ids.shown_replay(made)['id']}"
        return ReplayOut.model_validate(ids.shown_replay(made))

    @router.get("/replays")
    async def list_replays(
        query: Annotated[ReplaysQuery, Query()], work: UnitOfWork = hop.work("replays:read")
    ) -> ReplayPage:
        _of_all(work)
        _check_service(query.service, source)
        name = f"replays {query.service} {query.state}"
        position = cursors.read(query.after, org_id=work.org_id, query=name)
        before = UUID(position[0]) if position else None
        rows, more = page(
            await replays.page(work.session, state=query.state, before=before, limit=query.limit + 1), query.limit
        )
        return ReplayPage.model_validate(
            {
                "data": [ids.shown_replay(row) for row in rows],
                "has_more": more,
                "next_cursor": cursors.write([rows[-1]["id"]], org_id=work.org_id, query=name) if more else None,
                "as_of": now(),
            }
        )

    @router.get("/replays/{replay_id}")
    async def show_replay(replay_id: str, work: UnitOfWork = hop.work("replays:read")) -> ReplayOut:
        _of_all(work)
        return ReplayOut.model_validate(ids.shown_replay(await replays.get(work.session, ids.replay(replay_id))))

    @router.post("/replays/{replay_id}/dry-run", status_code=202)
    async def dry_run(replay_id: str, work: UnitOfWork = hop.work("replays:write")) -> ReplayOut:
        _of_all(work)
        asked = await replays.ask_dry_run(work, ids.replay(replay_id), public_id=replay_id)
        return ReplayOut.model_validate(ids.shown_replay(asked))

    @router.post("/replays/{replay_id}/apply", status_code=202)
    async def apply(replay_id: str, body: ApplyIn, work: UnitOfWork = hop.work("replays:write")) -> ReplayOut:
        _of_all(work)
        begun = await replays.apply(
            work, ids.replay(replay_id), plan_hash=body.hash, reason=body.reason, public_id=replay_id
        )
        return ReplayOut.model_validate(ids.shown_replay(begun))

    @router.post("/replays/{replay_id}/pause")
    async def pause(replay_id: str, work: UnitOfWork = hop.work("replays:write")) -> ReplayOut:
        _of_all(work)
        moved = await replays.pause(work, ids.replay(replay_id), public_id=replay_id)
        return ReplayOut.model_validate(ids.shown_replay(moved))

    @router.post("/replays/{replay_id}/resume")
    async def resume(replay_id: str, work: UnitOfWork = hop.work("replays:write")) -> ReplayOut:
        _of_all(work)
        moved = await replays.resume(work, ids.replay(replay_id), public_id=replay_id)
        return ReplayOut.model_validate(ids.shown_replay(moved))

    @router.post("/replays/{replay_id}/abort")
    async def abort(replay_id: str, work: UnitOfWork = hop.work("replays:write")) -> ReplayOut:
        _of_all(work)
        moved = await replays.abort(work, ids.replay(replay_id), public_id=replay_id)
        return ReplayOut.model_validate(ids.shown_replay(moved))

    return router


class Ids:
    """How one service's rows are called outside. All raise NotFound for ids that are none of theirs."""

    def __init__(self, source: str) -> None:
        self._source = source

    def group(self, text: str) -> UUID:
        return parse_public_id(f"fgr_{self._source}", text)

    def replay(self, text: str) -> UUID:
        return parse_public_id(f"rpl_{self._source}", text)

    def letter(self, text: str) -> tuple[str, UUID]:
        head, _, _ = text.rpartition("_")
        start = f"dlt_{self._source}_"
        if not head.startswith(start):
            raise NotFound("there is no dlt_ object with this id")
        return f"{self._source}.{head.removeprefix(start)}", parse_public_id(head, text)

    def chosen(self, body: ReplayIn) -> Letters:
        return Letters(
            groups=tuple(self.group(one) for one in body.group_ids),
            letters=tuple(self.letter(one) for one in body.letter_ids),
            consumer=body.consumer,
            event_type=body.event_type,
            error_class=body.error_class,
            state=body.state,
            account_id=None if body.account_id is None else parse_public_id("acc", body.account_id),
            provider=body.provider,
            campaign=body.campaign,
            failed_from=body.failed_from,
            failed_until=body.failed_until,
        )

    def shown_group(self, row: dict[str, Any]) -> dict[str, Any]:
        action, text = groups.advice(row["error_class"])
        return row | {
            "id": public_id(f"fgr_{self._source}", row["id"]),
            "service": self._source,
            "advice": {"action": action, "text": text},
            "notes_count": len(row["notes"]),
            "failed_last_hour": row["last_hour"],
        }

    def shown_letter(self, row: dict[str, Any], work: UnitOfWork) -> dict[str, Any]:
        raw, mark, account, replay = (row[name] for name in ("envelope", "fingerprint", "account_id", "replay_id"))
        return row | {
            "id": letter_id(row["consumer"], row["event_id"]),
            "service": self._source,
            "event_id": str(row["event_id"]),
            "group_id": None if mark is None else public_id(f"fgr_{self._source}", group_id(work.org_id, mark)),
            "account_id": None if account is None else public_id("acc", account),
            "replay_id": None if replay is None else public_id(f"rpl_{self._source}", replay),
            "size_bytes": len(raw or b""),
            "envelope_base64": None if raw is None else base64.b64encode(raw).decode(),
            "sha256": None if raw is None else hashlib.sha256(raw).hexdigest(),
            "original_base64": None if row["original"] is None else base64.b64encode(row["original"]).decode(),
        }

    def shown_replay(self, row: dict[str, Any]) -> dict[str, Any]:
        return row | {"id": public_id(f"rpl_{self._source}", row["id"]), "service": self._source}


def letter_id(consumer: str, event_id: UUID) -> str:
    """`dlt_provider-sync_webhooks_0190…`: names the service that has it."""
    return public_id(f"dlt_{consumer.replace('.', '_', 1)}", event_id)


def _check_service(named: str, source: str) -> None:
    if named != source:
        raise NotFound(f"these rows are those of {named}, and this is {source}")


def _of_all(work: UnitOfWork) -> None:
    if not work.session.scope.is_all:
        raise Forbidden("dead letters belong to the whole organization; this needs access to all of its companies")
