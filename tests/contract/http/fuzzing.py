"""Schemathesis over every operation of the API, against the gateway and its owners on a database with real objects in it.

It knows the document alone. What no document says (which ids exist, which fields go together) it is told in `sound.py`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from schemathesis import Case, HookContext
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import Status, events, from_schema
from schemathesis.engine.run import PhaseName

from libs.runtime.server import make_server
from services.cli import openapi
from tests.contract.http.sound import OFFERED_BY_NONE, UP_TO_THE_PROVIDER, Sound
from tests.security.matrix.world import World

SHARE = 0.6  # of the sound calls of each operation must end well, or the checks have seen refusals only


@dataclass
class Report:
    """`sound` and `unsound`: calls by operation and status; of the latter some part was made wrong on purpose."""

    sound: dict[str, Counter[int]] = field(default_factory=dict)
    unsound: dict[str, Counter[int]] = field(default_factory=dict)
    checks: Counter[str] = field(default_factory=Counter)
    problems: dict[str, str] = field(default_factory=dict)

    def share(self, operation: str) -> float:
        """Of the sound calls, how many were answered 2xx."""
        statuses = self.sound.get(operation, Counter())
        return sum(count for status, count in statuses.items() if 200 <= status < 300) / max(1, statuses.total())

    def __str__(self) -> str:
        operations = sorted(self.sound.keys() | self.unsound.keys())
        lines = [
            f"{operation:58} {self.share(operation):4.0%} of {_told(self.sound.get(operation))}"
            f" | unsound {_told(self.unsound.get(operation))}"
            for operation in operations
        ]
        return "\n".join([*lines, f"checks that held: {dict(sorted(self.checks.items()))}"])


def _told(statuses: Counter[int] | None) -> str:
    counted = statuses or Counter()
    return f"{counted.total()} ({', '.join(f'{status}: {count}' for status, count in sorted(counted.items()))})"


async def fuzz(world: World, *, examples: int, whole: bool, seed: int = 1) -> Report:
    """Run all checks; `examples` is how many random cases each operation gets. Not `whole`: these and the examples of the
    document only; no value at every limit, no chains of calls."""
    loop = asyncio.get_running_loop()
    async with _served(world) as url:
        return await asyncio.to_thread(_run, world, loop, url, examples, whole, seed)


@asynccontextmanager
async def _served(world: World) -> AsyncIterator[str]:
    server = make_server(world.stack.apps["gateway"], host="127.0.0.1", port=0, most_connections=100)
    running = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn tells nobody
        await asyncio.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = server.force_exit = True
        await running


def _run(world: World, loop: asyncio.AbstractEventLoop, url: str, examples: int, whole: bool, seed: int) -> Report:
    sound = Sound(world, loop, seed)
    config = SchemathesisConfig.from_dict(
        {
            "seed": seed,
            "base-url": url,
            "continue-on-failure": True,
            "headers": {"Authorization": f"Bearer {world.a.keys['admin']}"},
            "operations": [
                {"include-name": label, "headers": {"Authorization": f"Bearer {key}"}}
                for label, key in sound.other_keys().items()
            ]
            + [
                {
                    "include-name": label,
                    "checks": {
                        "positive_data_acceptance": {"expected-statuses": ["2xx", "401", "403", "404", "409", "422"]}
                    },
                }
                for label in sorted(OFFERED_BY_NONE | UP_TO_THE_PROVIDER)
            ],
            "phases": {"coverage": {"enabled": whole}, "stateful": {"enabled": whole}},
            "generation": {"max-examples": examples, "deterministic": True, "no-shrink": True},
        }
    )
    schema = schemathesis.openapi.from_dict(openapi.document(), config=config)
    report = Report()

    @schemathesis.hook
    def before_call(context: HookContext, case: Case, kwargs: dict[str, Any]) -> None:
        sound.mend(case)

    try:
        for event in from_schema(schema).execute():
            _note(event, report)
    finally:
        schemathesis.hooks.unregister_all()
    return report


def _note(event: Any, report: Report) -> None:
    if isinstance(event, events.NonFatalError | events.FatalError):
        error = event.value if isinstance(event, events.NonFatalError) else event.exception
        report.problems[f"{getattr(event, 'label', '')}: {error!r}"] = ""
    if not isinstance(event, events.ScenarioFinished):
        return
    recorder = event.recorder
    for case_id, node in recorder.cases.items():
        case, interaction = node.value, recorder.interactions.get(case_id)
        if interaction is None or interaction.response is None:
            continue
        label, status = case.operation.label, interaction.response.status_code
        if node.parent_id is None or case.meta is None or event.phase is PhaseName.STATEFUL_TESTING:
            sound = case.meta is not None and case.meta.generation.mode.is_positive
            (report.sound if sound else report.unsound).setdefault(label, Counter())[status] += 1
        for check in recorder.checks.get(case_id, ()):
            if check.status == Status.SUCCESS:
                report.checks[check.name] += 1
            elif check.failure_info is not None:
                failure = check.failure_info.failure
                what = f"{event.phase.value} {label}: {check.name}: {failure.title}: {failure.message}"
                answer = f"{status} {interaction.response.content[:500]!r}"
                report.problems.setdefault(what, f"{check.failure_info.code_sample}\n{answer}")
