"""Move runs on with what comes back: captures, answers to repairs, or nothing for too long.

Everything that comes is kept first; then the run's row is held and moved as far as what is kept allows. So the order in
which captures and answers come never matters, not even across passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from libs.contracts.envelope import Envelope
from libs.contracts.events import (
    DriftDetectedV1,
    ReconciliationCompletedV1,
    RepairRequestedV1,
    SnapshotCapturedV1,
    SnapshotRequestedV1,
    SyncCompletedV1,
)
from libs.errors import ContractViolated, TenantMismatch
from libs.messaging.work import UnitOfWork
from services.reconciliation.domain.runs import (
    Part,
    State,
    Step,
    after_capture,
    are_answered,
    compared,
    differences_of,
    errors_of,
    repairs_of,
)
from services.reconciliation.repository.drifts import DriftRepository
from services.reconciliation.repository.runs import Run, RunRepository


async def take_captures(events: Sequence[SnapshotCapturedV1], work: UnitOfWork) -> None:
    """Record captures and move their runs on.

    Publishes DriftDetectedV1 for what differs and whatever the run's next step is.

    Raises:
        TenantMismatch: the run is none of this org's, or of another account; dead-lettered.
        ContractViolated: a difference names no campaign; dead-lettered.
    """
    runs = RunRepository(work.session)
    held = await _hold(runs, {event.run_id: event.account_id for event in events})
    wanted = [event for event in events if not held[event.run_id].state.is_finished]
    if any(event.campaign_id is None and differences_of(event) for event in wanted):
        raise ContractViolated("a capture differs but names no campaign")
    new = await runs.add_parts(wanted)
    drifts = DriftRepository(work.session)
    await drifts.add(new)
    await _tell_drift(new, drifts, work)
    causes = {event.run_id: event.envelope for event in wanted}
    for run_id in sorted(causes):
        await _Course(held[run_id], work, causes[run_id]).move()


async def take_answers(events: Sequence[SyncCompletedV1], work: UnitOfWork) -> None:
    """Record repairs that ended and move their runs on; pulls that no run asked for mean nothing here.

    Raises:
        TenantMismatch: the run is none of this org's, or of another account; dead-lettered.
        ContractViolated: an answer to a run names no pass; dead-lettered.
    """
    asked = {event.run_id: event for event in events if event.run_id is not None}
    if not asked:
        return
    runs = RunRepository(work.session)
    held = await _hold(runs, {run_id: event.account_id for run_id, event in asked.items()})
    wanted = [e for e in events if e.run_id is not None and not held[e.run_id].state.is_finished]
    if any(event.pass_number is None for event in wanted):
        raise ContractViolated("an answer names a run but no pass")
    await runs.add_answers(wanted)
    for run_id in sorted({event.run_id for event in wanted if event.run_id is not None}):
        await _Course(held[run_id], work, asked[run_id].envelope).move()


async def fail_stuck(run_id: UUID, work: UnitOfWork, *, timeout_seconds: float) -> bool:
    """End a run of which nothing was heard for so long; answers whether it was. Publishes ReconciliationCompletedV1."""
    run = await RunRepository(work.session).hold_stuck(run_id, timeout_seconds)
    if run is None:
        return False
    of_parts = f"{run.parts_captured} of {run.parts_expected or 'an unknown number of'} campaigns were compared"
    waiting = "for repairs to end" if run.state is State.REPAIRING else f"for captures ({of_parts})"
    await _Course(run, work, None).fail(
        f"nothing was heard for {timeout_seconds:.0f} s while pass {run.pass_number} waited {waiting}; "
        f"look for dead letters of provider-sync and start anew"
    )
    return True


async def _hold(runs: RunRepository, accounts: dict[UUID, UUID]) -> dict[UUID, Run]:
    held = await runs.hold(accounts.keys())
    for run_id, account_id in accounts.items():
        if run_id not in held or held[run_id].account_id != account_id:
            raise TenantMismatch("an event speaks of a run that this organization's account does not have")
    return held


async def _tell_drift(new: Sequence[SnapshotCapturedV1], drifts: DriftRepository, work: UnitOfWork) -> None:
    """For each campaign that a new capture shows to differ: all that this pass has shown of it so far."""
    differing = {
        (event.run_id, event.campaign_id, event.pass_number): event
        for event in new
        if event.campaign_id is not None and differences_of(event)
    }
    for (run_id, campaign_id, pass_number), event in sorted(differing.items(), key=lambda item: item[0]):
        for drift in await drifts.of_campaign(run_id, campaign_id, pass_number):
            work.publish(
                DriftDetectedV1(
                    run_id=run_id, account_id=event.account_id, campaign_id=campaign_id, kind=drift.kind,
                    missing=drift.missing, surplus=drift.surplus,
                ),
                company_id=drift.company_id,
                cause=event.envelope,
            )  # fmt: skip


class _Course:
    """One run, held, moved as far as what is known allows."""

    def __init__(self, run: Run, work: UnitOfWork, cause: Envelope | None) -> None:
        self.run = run
        self.state = run.state
        self.pass_number = run.pass_number
        self.work = work
        self.cause = cause
        self.runs = RunRepository(work.session)
        self.drifts = DriftRepository(work.session)

    async def move(self) -> None:
        while not self.state.is_finished:
            moved = await (self._after_repairs() if self.state is State.REPAIRING else self._after_captures())
            if not moved:
                break
        if not self.state.is_finished:
            captured, expected = await self.runs.captured(self.run.run_id, self.pass_number)
            if self.state is State.REQUESTED and captured:
                self.state = State.CAPTURING
            await self.runs.move(
                self.run.run_id, self.state, pass_number=self.pass_number, captured=captured, expected=expected,
                found=await self.drifts.count(self.run.run_id),
            )  # fmt: skip

    async def _after_captures(self) -> bool:
        captured, expected = await self.runs.captured(self.run.run_id, self.pass_number)
        if expected is None or captured < expected:  # so that thousands of parts are not read for each that comes
            return False
        parts = await self.runs.parts(self.run.run_id, self.pass_number)
        match after_capture(parts, pass_number=self.pass_number, dry_run=self.run.dry_run):
            case Step.REPAIR:
                missing, _ = await self.runs.count_missing(self.run.run_id, final_pass=self.pass_number)
                await self.runs.tell_missing(self.run.run_id, missing=missing, repaired=0)
                self._ask_for_repairs(parts)
                self.state = State.REPAIRING
            case Step.COMPLETE:
                await self._complete(parts)
            case Step.FAIL:
                await self.fail(errors_of(parts) or "", parts)
            case _:
                return False
        return True

    async def _after_repairs(self) -> bool:
        repairs = repairs_of(await self.runs.parts(self.run.run_id, self.pass_number))
        if not are_answered(repairs, await self.runs.answers(self.run.run_id, self.pass_number)):
            return False
        self.pass_number += 1
        self.state = State.VERIFYING
        self.work.publish(
            SnapshotRequestedV1(
                run_id=self.run.run_id, pass_number=self.pass_number, account_id=self.run.account_id,
                campaign_id=self.run.campaign_id,
            ),
            company_id=self.run.company_id,
            cause=self.cause,
        )  # fmt: skip
        return True

    def _ask_for_repairs(self, parts: Sequence[Part]) -> None:
        for repair in repairs_of(parts):
            self.work.publish(
                RepairRequestedV1(
                    run_id=self.run.run_id, pass_number=self.pass_number, account_id=self.run.account_id,
                    campaign_id=repair.campaign_id, campaign_external_id=repair.campaign_external_id,
                    lead_keys=repair.lead_keys,
                ),
                company_id=repair.company_id,
                cause=self.cause,
            )  # fmt: skip

    async def _complete(self, parts: Sequence[Part]) -> None:
        left = "open" if self.run.dry_run else "unrepaired"
        open_ = await self.drifts.settle(self.run.run_id, final_pass=self.pass_number, left=left)
        error = None
        if open_:
            failed = [answer.error for answer in await self.runs.answers(self.run.run_id) if answer.error]
            error = f"{len(failed)} pulls failed: {failed[-1]}" if failed else None
        await self._finish(State.COMPLETED, parts, open_=open_, error=error)

    async def fail(self, reason: str, parts: Sequence[Part] = ()) -> None:
        """End the run with a reason; what was found stays, open."""
        open_ = await self.drifts.count(self.run.run_id)
        await self._finish(State.FAILED, parts, open_=open_, error=reason)

    async def _finish(self, state: State, parts: Sequence[Part], *, open_: int, error: str | None) -> None:
        found = await self.drifts.count(self.run.run_id)
        captured, expected = await self.runs.captured(self.run.run_id, self.pass_number)
        await self.runs.move(
            self.run.run_id, self.state, pass_number=self.pass_number, captured=captured, expected=expected, found=found
        )
        await self.runs.finish(self.run.run_id, state, found=found, repaired=found - open_, open_=open_, error=error)
        missing, repaired = await self.runs.count_missing(self.run.run_id, final_pass=self.pass_number)
        proven = repaired if state is State.COMPLETED else 0
        await self.runs.tell_missing(self.run.run_id, missing=missing, repaired=proven)
        self.state = state
        self.work.publish(
            ReconciliationCompletedV1(
                run_id=self.run.run_id, account_id=self.run.account_id, outcome=state.value, campaign_ids=compared(parts),
                found=found, repaired=found - open_, open=open_, error=error,
            ),
            company_id=self.run.company_id,
            cause=self.cause,
        )  # fmt: skip
        if state is State.COMPLETED and open_:
            await self._tell_what_is_left()

    async def _tell_what_is_left(self) -> None:
        # After the end: to listeners a completed run closes all drift told before it.
        for drift in await self.drifts.still_open(self.run.run_id):
            self.work.publish(
                DriftDetectedV1(
                    run_id=self.run.run_id, account_id=self.run.account_id, campaign_id=drift.campaign_id,
                    kind=drift.kind, missing=drift.missing, surplus=drift.surplus,
                ),
                company_id=drift.company_id,
                cause=self.cause,
            )  # fmt: skip
