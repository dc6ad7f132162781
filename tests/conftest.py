"""Servers for the session, and the last words about what ran on what. Fixtures of one kind each live in tests/fixtures/."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

import hypothesis
import pytest

from tests import servers

_T = TypeVar("_T")

pytest_plugins = sorted(
    f"tests.fixtures.{file.stem}" for file in (Path(__file__).parent / "fixtures").glob("[a-z]*.py")
)

# How fast an example runs says more about the machine than about us; CI draws the same examples each time.
hypothesis.settings.register_profile("house", deadline=None, derandomize=bool(os.environ.get("CI")))
hypothesis.settings.load_profile("house")


class Notes:
    """What the summary tells: which servers were used, and what was not run."""

    def __init__(self) -> None:
        self.servers: list[str] = []
        self.missing: list[str] = []
        self.deselected_heavy = 0
        self.for_root_only = 0
        self.skipped = 0


_NOTES = pytest.StashKey[Notes]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_NOTES] = Notes()


@pytest.fixture(scope="session")
def postgres_server(pytestconfig: pytest.Config) -> Iterator[str]:
    """DSN of an administrator of the session's PostgreSQL; make databases of your own in it."""
    yield from _served(pytestconfig, servers.postgres)


@pytest.fixture(scope="session")
def rabbit_server(pytestconfig: pytest.Config) -> Iterator[servers.RabbitServer]:
    """The session's RabbitMQ: `amqp_url` (vhost /), `new_vhost() -> url`; where `can_stop`, `stop()` and `start()`."""
    yield from _served(pytestconfig, servers.rabbit)


def _served(
    config: pytest.Config, server: Callable[[Callable[[str], None]], AbstractContextManager[_T]]
) -> Iterator[_T]:
    notes = config.stash[_NOTES]
    running = server(notes.servers.append)
    try:
        value = running.__enter__()
    except servers.Unavailable as error:
        notes.missing.append(str(error))
        if os.environ.get("CI"):
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))
    try:
        yield value
    finally:
        running.__exit__(None, None, None)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if os.geteuid() == 0:
        return
    for_root = [item for item in items if item.get_closest_marker("root")]
    config.stash[_NOTES].for_root_only = len(for_root)
    config.hook.pytest_deselected(items=for_root)
    items[:] = [item for item in items if item not in for_root]


def pytest_deselected(items: list[pytest.Item]) -> None:
    if items:
        items[0].config.stash[_NOTES].deselected_heavy += sum(
            item.get_closest_marker("heavy") is not None for item in items
        )


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A worker (`-n`) has ended: what it noted comes to the one summary."""
    notes, told = node.config.stash[_NOTES], getattr(node, "workeroutput", {}).get("notes")
    if told:
        notes.servers += [line for line in told["servers"] if line not in notes.servers]
        notes.missing += [line for line in told["missing"] if line not in notes.missing]
        # Every worker collects everything, and says the same of it.
        notes.deselected_heavy, notes.for_root_only = told["deselected_heavy"], told["for_root_only"]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """With CI set a skipped test is a failure: nothing may be left out silently."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    notes = session.config.stash[_NOTES]
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["notes"] = vars(notes)
    notes.skipped = len(reporter.stats.get("skipped", [])) if reporter else 0
    if notes.skipped and os.environ.get("CI") and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    notes = config.stash[_NOTES]
    left_out = list(notes.missing)
    if notes.skipped:
        left_out.append(f"{notes.skipped} skipped" + (", which fails with CI set" if os.environ.get("CI") else ""))
    if notes.deselected_heavy:
        left_out.append(f"{notes.deselected_heavy} heavy (make test-all)")
    if notes.for_root_only:
        left_out.append(f"{notes.for_root_only} about root")
    terminalreporter.section("servers", sep="-")
    for line in notes.servers or ["none was needed"]:
        terminalreporter.line(line)
    terminalreporter.line(f"not run: {'; '.join(left_out) or 'nothing'}")
