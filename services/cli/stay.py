"""`outrider up` and `outrider down`: the house on this machine, staying up."""

from __future__ import annotations

import asyncio
import os
import signal
import time

from rich.console import Console

from libs.state import state_root
from services.cli.prepare import PLATFORM_KEY
from services.cli.processes import House

_LOOK_SECONDS = 1.0


async def stay_up(broker: str | None, talk: Console) -> None:
    """Start everything, say where it is, and stay until told to stop. A service that dies is started again."""
    folder = state_root()
    house = House(folder, broker=broker, database="outrider", fixed_ports=True, say=lambda line: talk.print(line))
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    pid_file = folder / "up.pid"
    try:
        await house.open()
        pid_file.write_text(str(os.getpid()))
        talk.print(
            f"gateway   {house.gateway_url}/v1\nwebhooks  {house.door_url}/webhooks/…\nkey       {folder / PLATFORM_KEY}"
        )
        talk.print("Ctrl-C ends it; `make down` from elsewhere does too")
        while not stop.is_set():
            for name in house.dead():
                talk.print(f"[red]{name} ended and is started again; its log ends:[/red]\n{house.last_words(name, 5)}")
                house.start(name)
            try:
                await asyncio.wait_for(stop.wait(), _LOOK_SECONDS)
            except TimeoutError:
                continue
    finally:
        pid_file.unlink(missing_ok=True)
        house.close()


def take_down(talk: Console) -> None:
    """Tell the process of `outrider up` to end, and wait until it has."""
    pid_file = state_root() / "up.pid"
    if not pid_file.exists():
        talk.print("nothing is up here")
        return
    pid = int(pid_file.read_text())
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        pid_file.unlink(missing_ok=True)
        talk.print("nothing is up here any more")
        return
    while pid_file.exists():
        time.sleep(0.1)
    talk.print("down")
