"""Servers that we start ourselves: they end when we end, also when we are killed."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

_PR_SET_PDEATHSIG = 1


def start_server(
    command: Sequence[str | Path],
    *,
    death_signal: signal.Signals,
    env: Mapping[str, str],
    cwd: Path,
    output: IO[bytes],
    pass_fds: Sequence[int] = (),
    uid_gid: tuple[int, int] | None = None,
) -> subprocess.Popen[bytes]:
    """Start `command` in a session of its own; on Linux it gets `death_signal` when this process ends, however it ends.

    `uid_gid` is who it runs as, when we are root.
    """
    if threading.current_thread() is not threading.main_thread():
        # Linux sends the signal when the *thread* that started the child ends.
        raise RuntimeError("start servers from the main thread")
    with warnings.catch_warnings():
        # Python 3.12 and later warn of preexec_fn beside threads; this one makes two system calls and nothing else.
        warnings.simplefilter("ignore", DeprecationWarning)
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=env,
            start_new_session=True,
            pass_fds=pass_fds,
            preexec_fn=_die_with_parent(death_signal),
            user=uid_gid[0] if uid_gid else None,
            group=uid_gid[1] if uid_gid else None,
            extra_groups=[] if uid_gid else None,
        )


def _die_with_parent(death_signal: signal.Signals) -> Callable[[], None] | None:
    if not sys.platform.startswith("linux"):
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def in_child() -> None:  # runs after the change of user, which would clear the setting
        prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)

    return in_child


def end(process: subprocess.Popen[bytes], *steps: tuple[signal.Signals, float]) -> None:
    """Send each signal in turn and wait its seconds for the end; SIGKILL to the whole session after the last."""
    for number, patience_seconds in steps:
        if process.poll() is not None:
            break
        process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience_seconds)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def free_port() -> int:
    """A TCP port that nobody listens on now, on 127.0.0.1; gone if another takes it before you do.

    Below the range that the kernel gives to outgoing connections (from 32768): a client which keeps dialling a stopped
    server there may be given that very port, and connects to itself.
    """
    for _ in range(200):
        port = random.randint(15_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no free TCP port on 127.0.0.1 between 15000 and 32000")
