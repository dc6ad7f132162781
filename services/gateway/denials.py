"""Refusals go into the audit log too, but so many a minute only: who is refused all the time must not fill a disk."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from libs.database.engine import OrganizationErased
from libs.errors import DependencyDown
from libs.messaging.work import Units
from libs.observability.logs import get_logger
from services.gateway import audit
from services.gateway.domain import Caller

log = get_logger()

_KNOWN_PART = re.compile(r"[a-z][a-z-]{0,30}|v\d|[a-z]{2,8}_[0-9a-f]{32}|[a-z]{2,8}_[a-z]+_[0-9a-f]{32}")
PER_MINUTE = 10  # of one caller on one replica; enough to see a pattern, and the rest is counted
_MOST_CALLERS = 10_000


class Denials:
    def __init__(self, units: Units, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._units = units
        self._clock = clock
        self._counted: dict[str, tuple[float, int]] = {}  # since when, how many

    async def note(self, caller: Caller, status: int, method: str, path: str) -> None:
        """Keep that this caller was refused. What cannot be kept is logged: the refusal stands without it."""
        suppressed = self._admit(caller.principal.name)
        if suppressed is None:
            return
        details: dict[str, object] = {"status": status}
        if suppressed:
            details["not_recorded_before"] = suppressed
        try:
            async with self._units.begin(caller.org(platform=True)) as work:
                await audit.record(
                    work.session,
                    caller,
                    "request.denied",
                    f"{method[:10]} {_told(path)}",
                    details,
                    outcome="denied",
                )
        except OrganizationErased:
            return  # with all it had, its log is gone too
        except DependencyDown as error:
            log.error("denial_not_recorded", reason=str(error))

    def _admit(self, name: str) -> int | None:
        """None when this one is not to be kept; else how many were not since the last minute began."""
        moment = self._clock()
        since, count = self._counted.get(name, (moment, 0))
        suppressed = 0
        if moment >= since + 60:
            suppressed = max(0, count - PER_MINUTE)
            since, count = moment, 0
        if name not in self._counted and len(self._counted) >= _MOST_CALLERS:
            del self._counted[next(iter(self._counted))]
        self._counted[name] = (since, count + 1)
        return suppressed if count < PER_MINUTE else None


def _told(path: str) -> str:
    """A path's words and ids; whatever else a caller wrote there may be anybody's name, or a key."""
    return "/".join(part if not part or _KNOWN_PART.fullmatch(part) else "…" for part in path[:200].split("/"))
