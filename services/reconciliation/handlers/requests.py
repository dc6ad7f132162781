"""Start runs and show them."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from libs.clock import now, rfc3339
from libs.contracts.events import SnapshotRequestedV1
from libs.errors import Conflict, NotFound
from libs.ids import new_id, parse_public_id, public_id
from libs.messaging.work import UnitOfWork
from libs.web.cursors import Cursors, page
from services.reconciliation.domain.runs import Keys, State
from services.reconciliation.handlers.accounts import comparable_account
from services.reconciliation.repository.drifts import Drift, DriftRepository
from services.reconciliation.repository.runs import Run, RunRepository
from services.reconciliation.schemas import (
    DriftOut,
    DriftPage,
    DriftQuery,
    KeyOut,
    RunOut,
    RunPage,
    RunQuery,
    StartIn,
)


async def start_run(body: StartIn, work: UnitOfWork, *, principal: str) -> RunOut:
    """Begin to compare an account, or one campaign of it, with its provider.

    Publishes SnapshotRequestedV1 and ActionPerformedV1.

    Raises:
        NotFound: the caller has no such account.
        Unsupported: its provider cannot list what it holds; the message names it.
        Conflict: a run of the same account and campaign is active, the message names it; or the organization is suspended,
            or the account's company archived.
    """
    if work.session.is_suspended:
        raise Conflict(
            "the organization is suspended: nothing is asked of its providers until it is resumed",
            code="organization_suspended",
        )
    account = await comparable_account(body.account_id, work)
    account_id = account.account_id
    campaign_id = None if body.campaign_id is None else parse_public_id("cam", body.campaign_id)
    runs, run_id = RunRepository(work.session), new_id()
    added = await runs.add(
        run_id, account_id=account_id, company_id=account.company_id, campaign_id=campaign_id,
        requested_by=principal, dry_run=body.dry_run,
    )  # fmt: skip
    if not added:
        active = await runs.find_active(account_id, campaign_id)
        which = "another one" if active is None else public_id("rec", active)
        raise Conflict(f"{which} is still running for this account and campaign; wait for its end", code="run_active")
    work.publish(
        SnapshotRequestedV1(run_id=run_id, pass_number=1, account_id=account_id, campaign_id=campaign_id),
        company_id=account.company_id,
    )
    started = {"account_id": public_id("acc", account_id), "dry_run": body.dry_run}
    if campaign_id is not None:
        started["campaign_id"] = public_id("cam", campaign_id)
    work.audit("reconciliation.started", public_id("rec", run_id), started, company_id=account.company_id)
    return _run_out(await _get(runs, run_id))


async def show_run(identifier: str, work: UnitOfWork) -> RunOut:
    """Raises: NotFound."""
    return _run_out(await _get(RunRepository(work.session), parse_public_id("rec", identifier)))


async def list_runs(query: RunQuery, work: UnitOfWork, *, cursors: Cursors) -> RunPage:
    """Newest first.

    Raises:
        NotFound: a filter is no id of its kind.
        Invalid: the cursor is not of this list.
    """
    name = f"reconciliations?{query.model_dump_json(exclude={'after', 'limit'})}"
    position = cursors.read(query.after, org_id=work.org_id, query=name)
    rows = await RunRepository(work.session).page(
        account_id=None if query.account_id is None else parse_public_id("acc", query.account_id),
        campaign_id=None if query.campaign_id is None else parse_public_id("cam", query.campaign_id),
        state=None if query.state is None else State(query.state),
        after=None if position is None else UUID(position[0]),
        limit=query.limit + 1,
    )
    shown, has_more = page(rows, query.limit)
    cursor = cursors.write([shown[-1].run_id], org_id=work.org_id, query=name) if has_more else None
    return RunPage(data=[_run_out(run) for run in shown], has_more=has_more, next_cursor=cursor, as_of=rfc3339(now()))


async def list_drifts(identifier: str, query: DriftQuery, work: UnitOfWork, *, cursors: Cursors) -> DriftPage:
    """What a run found. Raises: NotFound; Invalid for a cursor of another list."""
    run = await _get(RunRepository(work.session), parse_public_id("rec", identifier))
    name = f"reconciliations/{run.run_id}/drifts?{query.model_dump_json(exclude={'after', 'limit'})}"
    position = cursors.read(query.after, org_id=work.org_id, query=name)
    rows = await DriftRepository(work.session).page(
        run.run_id,
        state=query.state,
        after=None if position is None else UUID(position[0]),
        limit=query.limit + 1,
    )
    shown, has_more = page(rows, query.limit)
    cursor = cursors.write([shown[-1].drift_id], org_id=work.org_id, query=name) if has_more else None
    return DriftPage(
        data=[_drift_out(drift) for drift in shown], has_more=has_more, next_cursor=cursor, as_of=rfc3339(now())
    )


async def _get(runs: RunRepository, run_id: UUID) -> Run:
    run = await runs.find(run_id)
    if run is None:
        raise NotFound("there is no rec_ object with this id")
    return run


def _run_out(run: Run) -> RunOut:
    return RunOut(
        id=public_id("rec", run.run_id),
        account_id=public_id("acc", run.account_id),
        campaign_id=_optional_id("cam", run.campaign_id),
        company_id=_optional_id("cmp", run.company_id),
        state=run.state.value,
        dry_run=run.dry_run,
        requested_by=run.requested_by,
        pass_number=run.pass_number,
        parts_expected=run.parts_expected,
        parts_captured=run.parts_captured,
        found=run.found,
        repaired=run.repaired,
        open=run.open,
        missing_messages=run.missing_messages,
        repaired_messages=run.repaired_messages,
        error=run.error,
        requested_at=rfc3339(run.requested_at),
        changed_at=rfc3339(run.changed_at),
        completed_at=_time(run.completed_at),
    )


def _drift_out(drift: Drift) -> DriftOut:
    return DriftOut(
        id=public_id("drf", drift.drift_id),
        run_id=public_id("rec", drift.run_id),
        campaign_id=public_id("cam", drift.campaign_id),
        campaign_external_id=drift.campaign_external_id,
        company_id=_optional_id("cmp", drift.company_id),
        kind=drift.kind,
        day=drift.day,
        state=drift.state,
        missing_count=drift.missing_count,
        missing=_keys(drift.missing),
        surplus_count=drift.surplus_count,
        surplus=_keys(drift.surplus),
    )


def _keys(keys: Keys) -> list[KeyOut]:
    return [KeyOut(message=message, lead=lead) for message, lead in keys]


def _optional_id(prefix: str, identifier: UUID | None) -> str | None:
    return None if identifier is None else public_id(prefix, identifier)


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339(moment)
