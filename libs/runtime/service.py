"""What a service is made of, and what it is given: the composition root (`app.py`) turns the second into the first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from fastapi import FastAPI
from starlette.types import ASGIApp

from libs.database.engine import Database
from libs.messaging.consumer import Consumer
from libs.messaging.work import Units
from libs.tenancy.signing import ContextVerifier


@dataclass(frozen=True, slots=True)
class Platform:
    """What every service is handed. `owners` are in-process ASGI apps by process name (standalone), else empty."""

    database: Database
    units: Units
    verifier: ContextVerifier
    owners: dict[str, ASGIApp] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Job:
    """A loop of the service's own (a worker, a timer): runs until cancelled, started again with a pause if it fails."""

    name: str
    run: Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Service:
    """`name` is the folder's (`provider_sync`). `app` answers HTTP, `closing` is awaited last. Where something stands in front
    of the routes, `routed` is what it stands in front of. Rows of `effect_tables` lead to calls at providers. `keep_days`: tables
    cut into weeks, beside the inbox, and for how many days each keeps its rows."""

    name: str
    app: ASGIApp
    consumers: tuple[Consumer, ...] = ()
    jobs: tuple[Job, ...] = ()
    closing: Callable[[], Awaitable[None]] | None = None
    routed: FastAPI | None = None
    effect_tables: tuple[str, ...] = ()
    keep_days: Mapping[str, int] = field(default_factory=dict)

    @property
    def described(self) -> FastAPI:
        """The app that knows the routes, and so can describe them."""
        found = self.routed or self.app
        assert isinstance(found, FastAPI)
        return found
