"""Named places at which a process can be told to fail, so that what comes after a crash there can be looked at.

`CRASH_AT=name[:kind[:nth]]` says where, how, and the how manieth time that the place is passed. Kinds: `kill` (SIGKILL, as a
power cut), `term` (SIGTERM, as a deployment), `exception` (a bug), `stall=SECONDS` (the whole process stands still).
`CRASH_AT=@folder` reads the same from the file `folder/<process>` whenever a place is passed, so that a running process can
be told; the file is renamed to `<process>.happened` right before it happens. Without the setting a place costs one comparison.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

Kind = Literal["kill", "term", "exception", "stall"]
KINDS: tuple[Kind, ...] = get_args(Kind)
HAPPENED = ".happened"
_STALL_SECONDS = 45.0  # three times the lease of a job or an effect


class Crashed(RuntimeError):
    """A place was told to raise. No error of ours: what handles it must not know it."""


class BadCrash(ValueError):
    """CRASH_AT is not written as it should be."""


@dataclass(frozen=True, slots=True)
class Crash:
    """What is to happen the `nth` time that the place `name` is passed."""

    name: str
    kind: Kind = "kill"
    nth: int = 1
    stall_seconds: float = _STALL_SECONDS

    @classmethod
    def read(cls, text: str) -> Crash:
        """Raises: BadCrash."""
        name, _, rest = text.strip().partition(":")
        said, _, nth = rest.partition(":")
        kind, _, seconds = (said or "kill").partition("=")
        try:
            crash = cls(name, cast("Kind", kind), int(nth or "1"), float(seconds or _STALL_SECONDS))
        except ValueError:
            crash = cls("")
        if not crash.name or crash.kind not in KINDS or crash.nth < 1 or (seconds and kind != "stall"):
            raise BadCrash(f"is name[:kind[:nth]] with a kind of {', '.join(KINDS)}[=SECONDS]; it is {text.strip()!r}")
        return crash

    def __str__(self) -> str:
        seconds = f"={self.stall_seconds:g}" if self.kind == "stall" else ""
        return f"{self.name}:{self.kind}{seconds}:{self.nth}"

    def happen(self) -> None:
        os.write(2, f"crash_point {self}\n".encode())  # past all buffers: the next line may be this process's last
        match self.kind:
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "term":
                os.kill(os.getpid(), signal.SIGTERM)
            case "stall":
                time.sleep(self.stall_seconds)
            case "exception":
                raise Crashed(f"told to at {self.name}")


class _Once:
    """One crash, given at start."""

    def __init__(self, crash: Crash) -> None:
        self._crash = crash
        self._left = crash.nth

    def passed(self, name: str) -> None:
        if name == self._crash.name:
            self._left -= 1
            if self._left == 0:
                self._crash.happen()


class _FromFile:
    """Crashes that somebody writes into a file, one after the other."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._text = ""
        self._left = 0

    def passed(self, name: str) -> None:
        try:
            text = self._path.read_text()
            crash = Crash.read(text)
        except (FileNotFoundError, BadCrash):  # not there, or half written
            self._text = ""
            return
        if text != self._text:
            self._text, self._left = text, crash.nth
        if name != crash.name:
            return
        self._left -= 1
        if self._left == 0:
            self._text = ""
            try:
                self._path.rename(self._path.with_name(self._path.name + HAPPENED))
            except FileNotFoundError:  # a replica of ours was quicker, and it happens once
                return
            crash.happen()


_passed: Callable[[str], None] | None = None


def crash_point(name: str) -> None:
    """This place is passed: `area.what_has_just_happened`. Every name is in the list of the crash grid (tests/crashes)."""
    if _passed is not None:
        _passed(name)


def arm(text: str, process: str) -> None:
    """From now on places do what CRASH_AT says.

    Raises:
        BadCrash: it is not written as it should be.
    """
    global _passed
    _passed = _FromFile(Path(text[1:]) / process).passed if text.startswith("@") else _Once(Crash.read(text)).passed


def disarm() -> None:
    global _passed
    _passed = None
