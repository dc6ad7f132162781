"""Which cells there must be: of every route that is served, and of nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.types import ASGIApp

from services.gateway.forwarding import FORWARDS, GATHERED
from tests.security.matrix import probes
from tests.security.matrix.principals import GROUPS
from tests.security.matrix.probes import Probe
from tests.security.matrix.table import NAME, Table
from tests.security.matrix.world import World


@dataclass(frozen=True)
class Operation:
    """`section` is the group of principals; `process` answers."""

    section: str
    name: str  # "GET /v1/leads/{id}", in the table after the process where that is not the gateway
    process: str
    route: str
    probes: Sequence[Probe]
    permission: str = ""

    @property
    def changes(self) -> bool:
        return not self.route.startswith("GET ")

    @property
    def tells(self) -> bool:
        """It changes nothing, and yet the audit log tells of it."""
        return probes.TOLD.match(self.route) is not None


def operations() -> list[Operation]:
    """All that probes.py knows, in the table's order."""
    found = [
        Operation(section, route, "gateway", route, asked)
        for section in ("gateway, strangers", "gateway, members")
        for route, asked in probes.GATEWAY.items()
    ]
    permissions = {
        (owner, _shape(f"{forward.method} {forward.path.removeprefix('/v1')}")): forward.permission
        for forward in (*FORWARDS, *GATHERED)
        for owner in forward.owners
    }
    for process, routes in probes.OWNERS.items():
        for route, asked in routes.items():
            permission = permissions.get((process, _shape(route)), "")
            found.append(Operation("owners", f"{process} {route}", process, route, asked, permission))
    found += [Operation("door", route, "webhook-ingest", route, asked) for route, asked in probes.DOOR.items()]
    for process in ("gateway", *probes.OWNERS):
        found += [
            Operation("health", f"{process} {route}", process, route, asked) for route, asked in probes.HEALTH.items()
        ]
    return found


def served(world: World) -> dict[str, set[str]]:
    """Every route of every app as it was built, by process."""
    found = {process: set(_routes(app)) for process, app in world.stack.apps.items()}
    found["gateway"] |= {f"{forward.method} {forward.path}" for forward in FORWARDS}
    found["webhook-ingest"] |= set(probes.DOOR)
    return found


def _routes(app: ASGIApp) -> Iterator[str]:
    inner = next((part for part in (app, *vars(app).values()) if isinstance(part, FastAPI)), None)
    assert inner is not None
    yield from _walk(inner.routes)


def _walk(routes: Sequence[Any]) -> Iterator[str]:
    for route in routes:
        if hasattr(route, "original_router"):  # FastAPI keeps an included router as it was
            yield from _walk(route.original_router.routes)
        elif isinstance(route, APIRoute):
            yield from (f"{method} {route.path}" for method in route.methods or ())
        else:
            yield f"ANY {getattr(route, 'path', route)}"


def _shape(route: str) -> str:
    return re.sub(r"\{\w+\}", "{}", route)


def unknown_routes(found: Mapping[str, set[str]]) -> list[str]:
    """What is served and not probed, or probed and not served: each with what to do."""
    known: dict[str, set[str]] = {process: set() for process in found}
    for operation in operations():
        known[operation.process].add(operation.route)
    where = "tests/security/matrix/probes.py"
    return [
        f"{process} {route} is served and nobody asks it: add it to {where}, then run `python -m tests.security.matrix "
        f"--add`, read its new lines in {NAME}, and commit both"
        for process in sorted(found)
        for route in sorted(found[process] - known[process])
    ] + [
        f"{process} {route} is asked and not served: take it out of {where} and {NAME}"
        for process in sorted(found)
        for route in sorted(known[process] - found[process])
    ]


def missing_cells(table: Table, only: Sequence[Operation] | None = None) -> list[str]:
    """Cells that must stand in the table and do not, and those that stand there for nothing."""
    problems = []
    wanted = {
        (operation.section, operation.name, probe.label, principal.name)
        for operation in only or operations()
        for probe in operation.probes
        for principal in GROUPS[operation.section]
    }
    written = {
        (section, operation, label, principal)
        for section, found in table.cells.items()
        for operation, lines in found.items()
        for label, cells in lines.items()
        for principal, outcome in cells.items()
        if outcome != "?"
    }
    add = "run `python -m tests.security.matrix --add` and read what it wrote"
    for (section, operation, label), names in _grouped(wanted - written).items():
        problems.append(f"{NAME} has no cell [{section}] {operation}, {label}: {', '.join(names)}; {add}")
    if only is None:
        for (section, operation, label), names in _grouped(written - wanted).items():
            problems.append(
                f"{NAME} has cells that nobody asks for: [{section}] {operation}, {label}: {', '.join(names)}"
            )
    return problems


def _grouped(cells: set[tuple[str, str, str, str]]) -> dict[tuple[str, str, str], list[str]]:
    found: dict[tuple[str, str, str], list[str]] = {}
    for section, operation, label, principal in sorted(cells):
        found.setdefault((section, operation, label), []).append(principal)
    return found
