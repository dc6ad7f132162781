"""The proxy does the faults that it counts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.faults.proxy import FaultProxy, Faults


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1024):
                writer.write(data)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


@pytest.fixture
def proxy(echo: int) -> Iterator[FaultProxy]:
    one = FaultProxy("127.0.0.1", echo).start()
    yield one
    one.close()


@contextlib.asynccontextmanager
async def dialled(proxy: FaultProxy) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def test_without_a_fault_bytes_pass(proxy: FaultProxy) -> None:
    async with dialled(proxy) as (reader, writer):
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
    assert proxy.counts["connections"] == 1
    assert not proxy.counts["swallowed"]


async def test_pieces_are_cut_and_late(proxy: FaultProxy) -> None:
    proxy.faults = Faults(slice_bytes=2, latency_seconds=0.001)
    async with dialled(proxy) as (reader, writer):
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
    assert proxy.counts["sliced"] >= 1
    assert proxy.counts["delayed"] >= 5


async def test_a_black_hole_tells_nobody_and_its_links_stay_dead(proxy: FaultProxy) -> None:
    async with dialled(proxy) as (reader, writer):
        proxy.faults = Faults(black_hole=True)
        writer.write(b"lost")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.2)
        proxy.heal()
        writer.write(b"also lost")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.2)
        async with dialled(proxy) as (fresh, onto):
            onto.write(b"new")
            assert await fresh.readexactly(3) == b"new"
    assert proxy.counts["swallowed"] == len(b"lost" + b"also lost")


async def test_resets_and_refusals_are_no_goodbyes(proxy: FaultProxy) -> None:
    async with dialled(proxy) as (reader, writer):
        writer.write(b"x")
        await reader.readexactly(1)
        assert proxy.reset() == 1
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
    proxy.faults = Faults(refuse=True)
    with pytest.raises(ConnectionResetError):  # at the first byte, or already at the door
        async with dialled(proxy) as (reader, _):
            await reader.readexactly(1)
    assert (proxy.counts["resets"], proxy.counts["refused"]) == (1, 1)


async def test_a_half_closed_link_still_takes(proxy: FaultProxy) -> None:
    async with dialled(proxy) as (reader, writer):
        writer.write(b"x")
        await reader.readexactly(1)
        assert proxy.half_close() == 1
        assert await reader.read() == b""
