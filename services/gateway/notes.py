"""What is found out about a request on its way, for those who see its answer pass."""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.types import Scope

from services.gateway.domain import Caller

_KEY = "outrider.notes"


@dataclass(slots=True)
class Notes:
    """`headers` are put on the answer, whoever gives it; `caller` is who asked, as soon as that is known."""

    caller: Caller | None = None
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)


def begin(scope: Scope) -> tuple[Scope, Notes]:
    notes = Notes()
    return {**scope, _KEY: notes}, notes


def of(scope: Scope) -> Notes:
    """The request's notes; new ones, which nobody reads, where it did not come through the front."""
    found = scope.get(_KEY)
    return found if isinstance(found, Notes) else Notes()
