"""A TCP proxy that hurts: it stands between a client and a server and does what networks do.

It lives in a thread of its own, so that whoever drives it may block. Every fault it does is counted: a test asks the
counter whether its fault really happened.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

_CHUNK = 64 * 1024
_T = TypeVar("_T")


@dataclass
class Faults:
    """What is wrong now. All off: a plain proxy."""

    latency_seconds: float = 0.0  # before each piece, each way
    slice_bytes: int = 0  # pieces of at most this size; 0: as they come
    bytes_per_second: float = 0.0  # each way of each connection; 0: as fast as it goes
    black_hole: bool = False  # takes everything, passes nothing, tells nobody
    refuse: bool = False  # hangs up on new connections


@dataclass(eq=False)
class _Link:
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    swallowed: bool = False  # it lost bytes: whatever comes later would be out of place
    tasks: list[asyncio.Task[None]] = field(default_factory=list)


class FaultProxy:
    """Listens on 127.0.0.1:`port` and passes on to `target` (host, port)."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self.port = 0
        self.faults = Faults()
        self.counts: Counter[str] = Counter()  # connections, refused, delayed, sliced, swallowed, resets, half_closed
        self._links: set[_Link] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault proxy", daemon=True)
        self._server: asyncio.Server | None = None

    def start(self) -> Self:
        self._thread.start()
        self._server = self._call(self._listen).result(10)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def close(self) -> None:
        self._call(self._end).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def point_at(self, port: int) -> None:
        """Whoever connects from now on is passed on there; links that stand are left as they are."""
        self._target = (self._target[0], port)

    def heal(self) -> None:
        """No fault from now on. A link that lost bytes stays dead, as a half-open one does, until one of its ends gives up."""
        self.faults = Faults()

    def reset(self) -> int:
        """Break every connection off with a reset; answers how many there were."""
        return self._call(self._reset).result(10)

    def half_close(self) -> int:
        """Tell every client that the server has said its last word, and go on listening to the client."""
        return self._call(self._half_close).result(10)

    def _call(self, make: Callable[[], Coroutine[Any, Any, _T]]) -> Future[_T]:
        return asyncio.run_coroutine_threadsafe(make(), self._loop)

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._take, "127.0.0.1", 0)

    async def _end(self) -> None:
        assert self._server is not None
        self._server.close()
        tasks = [task for link in self._links for task in link.tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _reset(self) -> int:
        links = list(self._links)
        for link in links:
            for writer in (link.client, link.server):
                _abort(writer)
        self.counts["resets"] += len(links)
        return len(links)

    async def _half_close(self) -> int:
        links = list(self._links)
        for link in links:
            with suppress(OSError):
                link.client.write_eof()
        self.counts["half_closed"] += len(links)
        return len(links)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.counts["connections"] += 1
        if self.faults.refuse:
            self.counts["refused"] += 1
            _abort(writer)
            return
        try:
            back, onward = await asyncio.open_connection(*self._target)
        except OSError:
            self.counts["target_away"] += 1
            _abort(writer)
            return
        link = _Link(writer, onward)
        self._links.add(link)
        link.tasks = [
            asyncio.create_task(self._pump(link, reader, onward)),
            asyncio.create_task(self._pump(link, back, writer)),
        ]
        try:
            await asyncio.wait(link.tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in link.tasks:
                task.cancel()
            _abort(writer)
            _abort(onward)
            self._links.discard(link)

    async def _pump(self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(_CHUNK):
                faults = self.faults
                if faults.black_hole or link.swallowed:
                    link.swallowed = True
                    self.counts["swallowed"] += len(data)
                    continue
                size = faults.slice_bytes or len(data)
                for start in range(0, len(data), size):
                    piece = data[start : start + size]
                    wait = faults.latency_seconds
                    if faults.bytes_per_second:
                        wait += len(piece) / faults.bytes_per_second
                    if wait:
                        self.counts["delayed"] += 1
                        await asyncio.sleep(wait)
                    writer.write(piece)
                    await writer.drain()
                self.counts["sliced"] += size < len(data)


def _abort(writer: asyncio.StreamWriter) -> None:
    """Hang up with a reset, not a goodbye."""
    raw = writer.get_extra_info("socket")
    if raw is not None:
        with suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
