"""Asks every operation for everything as everybody, and compares with the reviewed table.

Beside the outcome, for each cell: who is refused has changed nothing (but the audit log that says so), nobody writes into
another's rows, and what is another org's is answered byte for byte as what never was.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from libs.database.names import SERVICES
from libs.ids import PLATFORM_ORG
from services.gateway.forwarding import FORWARDS
from tests.security.matrix import probes
from tests.security.matrix.asking import Answer, call
from tests.security.matrix.coverage import Operation
from tests.security.matrix.principals import GROUPS, QUICK, Principal
from tests.security.matrix.probes import Probe, Request
from tests.security.matrix.table import Table
from tests.security.matrix.watch import Watch, Write
from tests.security.matrix.world import Tenant, World

_AUDIT = {"gateway.audit_log", "gateway.audit_heads"}
_BOOKKEEPING = {"gateway.rate_buckets"}
_TELLING = {f"{service}.{table}" for service in SERVICES for table in ("outbox", "ledger")}
# Refused before anybody knows for whom; these are not written down.
_UNRECORDED = {"user_suspended", "no_membership", "organization_suspended"}
# Rows of which companies may be written on their behalf.
_LIMITED_TO = {
    "view": ("own",),
    "vper": ("own",),
    "mgr": ("own",),
    "both": ("own",),
    "peer": ("sibling",),
    "left": ("archived",),
    "lper": (),
}
_FORWARDED = {f"{forward.method} {forward.path}" for forward in FORWARDS}
_PERFORMED = "action.performed.v1"
_IN_BOTH_LOGS = ("POST /v1/assumptions", "DELETE /v1/assumptions/{assumption}")
# What these begin must end before the next one can.
_SETTLES = {
    "POST /v1/reconciliations",
    "POST /reconciliations",
    "PUT /v1/reconciliation-schedules/{id}/slots/{slot}",
    "PUT /reconciliation-schedules/{schedule_id}/slots/{slot}",
}
# What these ask for is to be done at a provider, by a worker.
_AT_PROVIDERS = re.compile(r"/(campaigns|conversations|operations|syncs)\b")


def _when(operation: Operation) -> tuple[bool, bool]:
    return operation.changes, operation.route not in probes.REPEATS_CALLERS


def _part(operation: Operation, principal: Principal, turn: int) -> Sequence[Probe]:
    """What a principal asks for in the quick part."""
    if operation.section in ("door", "health"):
        return operation.probes
    if operation.route in _SETTLES:
        return operation.probes if principal.name in ("mgr", "ali") else ()
    if principal.name in QUICK and operation.section != "gateway, strangers":
        return operation.probes
    return operation.probes[:1] if principal.name in QUICK or turn % 3 == 0 else ()


@dataclass
class Matrix:
    """`outcomes` is what was found; `problems` what is wrong with it, each with where it stands."""

    world: World
    watch: Watch
    table: Table
    say: Callable[[str], None] = lambda _: None
    cells: int = 0
    problems: list[str] = field(default_factory=list)
    outcomes: dict[tuple[str, str, str, str], str] = field(default_factory=dict)
    acts: dict[str, tuple[str, int]] = field(default_factory=dict)  # request id -> what it was, how often it is audited

    async def run(self, asked: Sequence[Operation], *, quick: bool = False) -> None:
        """`quick`: each operation is asked for everything by a few, and once by some of the others, taking turns; of strangers,
        whom nothing that is asked for makes a difference, once; what takes time to settle, by two."""
        victim = self.world.tenants["B"].org_id
        await self.watch.writes()
        before = await self.watch.fingerprint(victim)
        started = time.monotonic()
        # First those that change nothing: lists then hold what the world was made with, and not what principals made or said.
        for number, operation in enumerate(sorted(asked, key=_when), start=1):
            for place, principal in enumerate(GROUPS[operation.section]):
                asked_for = _part(operation, principal, number + place) if quick else operation.probes
                await self._ask_all(operation, principal, asked_for)
            after = await self.watch.fingerprint(victim)
            for name, value in after.items():
                if before[name] != value:
                    self.problems.append(f"[{operation.section}] {operation.name}: {name} of the other org was changed")
            before = after
            seconds = time.monotonic() - started
            self.say(f"{number}/{len(asked)} {self.cells} cells {seconds:.0f} s  {operation.name}")

    async def _ask_all(self, operation: Operation, principal: Principal, asked: Sequence[Probe]) -> None:
        hidden: dict[str, tuple[str, Any]] = {}
        for probe in asked:
            request, answer = await self._ask(operation, principal, probe)
            way, _, relation = probe.label.rpartition("=")
            if relation in probes.HIDDEN and (operation.route, principal.name) not in probes.SEES_ALL:
                seen = answer.impersonal(request.named, made=operation.changes)
                label, before = hidden.setdefault(way, (probe.label, seen))
                if before != seen:
                    self._wrong(operation, principal, probe, f"{seen} but to {label} {before}: they can be told apart")

    async def _ask(self, operation: Operation, principal: Principal, probe: Probe) -> tuple[Request, Answer]:
        world, self.cells = self.world, self.cells + 1
        tenant = world.tenants["S" if probe.relation == "suspended" else "A"]
        request = await probe.make(world)
        ids = iter(request.ids)
        method, template = operation.route.split(" ")
        path = re.sub(r"\{\w+\}", lambda _: next(ids), template)
        headers = principal.headers(world, tenant, operation.process, operation.permission)
        if world.touched:
            world.touched = False
            await self.watch.writes()  # of making what is asked for
        answer = await call(world.stack.apps[operation.process], method, path, request.query, headers, request.body)
        writes = await self.watch.writes()
        echoed = f"{path} {request.query} {orjson.dumps(request.body).decode()}"
        home = principal.home_of(world, tenant)
        letters = world.seen_by(home, answer.content, echoed=echoed, ids=operation.route not in probes.REPEATS_CALLERS)
        outcome = self.table.outcome_of(answer.status, answer.code, letters)
        self.outcomes[operation.section, operation.name, probe.label, principal.name] = outcome
        expected = self.table.cell(operation.section, operation.name, probe.label, principal.name)
        if expected not in (None, "?", outcome):
            self._wrong(
                operation, principal, probe, f"{expected} is written, {outcome} is found: {answer.body[:300]!r}"
            )
        for problem in self._of_writes(operation, principal, tenant, home, answer, writes):
            self._wrong(operation, principal, probe, problem)
        if answer.status < 300 and (operation.changes or operation.tells):
            self._note_act(operation, principal, answer, writes)
        if answer.status < 300 and operation.changes:
            world.use_up(probe.relation)
            if operation.route in _IN_BOTH_LOGS:
                await world.as_assumed_before()
            if _AT_PROVIDERS.search(operation.route):
                await world.withdraw()
            if operation.route in _SETTLES:
                await world.stack.settle()
                world.touched = True
        return request, answer

    def _note_act(self, operation: Operation, principal: Principal, answer: Answer, writes: Sequence[Write]) -> None:
        if operation.section == "door":
            return  # a provider's post is no act of anybody here
        changed = {write.table for write in writes} - _BOOKKEEPING
        wanted = 2 if operation.route in _IN_BOTH_LOGS else 1 if changed else 0
        self.acts[answer.request_id] = (f"[{operation.section}] {operation.name}, {principal.name}", wanted)

    def _wrong(self, operation: Operation, principal: Principal, probe: Probe, what: str) -> None:
        self.problems.append(f"[{operation.section}] {operation.name}, {probe.label}, {principal.name}: {what[:1500]}")

    def _of_writes(
        self,
        operation: Operation,
        principal: Principal,
        tenant: Tenant,
        home: Tenant | None,
        answer: Answer,
        writes: Sequence[Write],
    ) -> Iterator[str]:
        """What was written and must not have been, and what is missing in the audit log."""
        at_gateway = operation.process == "gateway" and operation.section != "health"
        may_touch = (_AUDIT | _BOOKKEEPING) if at_gateway else set()
        is_refused = answer.status >= 400
        if operation.tells and not is_refused:
            may_touch = may_touch | _TELLING
        if is_refused or not operation.changes:
            for table in sorted({write.table for write in writes} - may_touch):
                yield f"{answer.status} and yet {table} was written"
        if operation.section == "door" or (operation.route in _IN_BOTH_LOGS and not is_refused):
            home = tenant
        foreign = {one.org_id: one.name for one in self.world.tenants.values() if one is not home}
        for name in sorted({foreign[write.org_id] for write in writes if write.org_id in foreign}):  # type: ignore[index]
            yield f"rows of organization {name} were written"
        if at_gateway and home is not None and not principal.name.startswith("s"):
            for write in writes:
                if write.org_id == PLATFORM_ORG:
                    yield f"{write.what} of the platform's own"
        if principal.name in _LIMITED_TO:
            places = [one for one in _LIMITED_TO[principal.name] if one in tenant.places]
            mine = {company for place in places for company in tenant.scope(place).companies or ()}
            for write in writes:
                if write.company_id is not None and write.company_id not in mine:
                    yield f"{write.what} of another company"
        if at_gateway:
            yield from self._of_audit(operation, answer, writes)

    def _of_audit(self, operation: Operation, answer: Answer, writes: Sequence[Write]) -> Iterator[str]:
        """Exactly one entry for each refusal and each act that changed something; of an owner's, the event that becomes one."""
        recorded = Counter(write.detail for write in writes if write.what == "INSERT gateway.audit_log")
        wanted: Counter[str | None] = Counter()
        if answer.status in (403, 404) and answer.code not in _UNRECORDED:
            wanted["denied"] = 1
        elif answer.status < 300 and (operation.changes or operation.tells):
            told = sum(write.detail == _PERFORMED for write in writes if write.table.endswith(".outbox"))
            is_owners = operation.route in _FORWARDED
            changed = {write.table for write in writes} - _AUDIT - _BOOKKEEPING
            acted = changed or operation.tells
            wanted["done"] = 0 if is_owners or not acted else 2 if operation.route in _IN_BOTH_LOGS else 1
            if is_owners and told != (1 if acted else 0):
                yield f"{answer.status}, and {told} events say who did it, which wrote {', '.join(sorted(changed))}"
        if recorded != +wanted:
            yield f"{answer.status}, and the audit log got {dict(recorded)} instead of {dict(+wanted)}"
