"""The RabbitMQ launcher against a real node, crashes included. One node for the module: a start takes seconds."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import aio_pika
import pytest

from libs.messaging.embedded import RabbitNode, RabbitUnavailable, find_sbin, server_version


@pytest.fixture(scope="module")
def node() -> Iterator[RabbitNode]:
    try:
        find_sbin()
    except RabbitUnavailable as error:
        pytest.skip(str(error))
    root = Path(tempfile.mkdtemp(prefix="outrider-"))
    node = RabbitNode(root)
    node.start()
    yield node
    node.kill()
    shutil.rmtree(root, ignore_errors=True)


async def put(url: str, body: bytes) -> None:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel(publisher_confirms=True)
        queue = await channel.declare_queue("kept", durable=True, arguments={"x-queue-type": "quorum"})
        message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, queue.name, mandatory=True)


async def take(url: str) -> bytes:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        queue = await channel.get_queue("kept")
        deadline = time.monotonic() + 20
        while (message := await queue.get(fail=False, timeout=20)) is None:
            assert time.monotonic() < deadline, "the message did not come back"
            await asyncio.sleep(0.05)
        await message.ack()
        return message.body


async def test_what_was_confirmed_outlives_a_crash(node: RabbitNode) -> None:
    url = node.new_vhost("crash")
    await put(url, b"kept")
    # A quorum queue's name reaches the disk a moment after it was declared; see RabbitNode.kill.
    await asyncio.sleep(2)
    port = node.port

    node.kill()
    assert server_version("127.0.0.1", port) is None
    node.start()

    assert node.port == port
    assert await take(url) == b"kept"


async def test_vhosts_do_not_see_each_other(node: RabbitNode) -> None:
    one, other = node.new_vhost("one/with slash"), node.new_vhost("other")
    await put(one, b"x")

    async with await aio_pika.connect(other) as connection:
        channel = await connection.channel()
        with pytest.raises(aio_pika.exceptions.ChannelNotFoundEntity):
            await channel.get_queue("kept")


def test_it_says_its_version(node: RabbitNode) -> None:
    assert node.version[0].isdigit()


def test_a_folder_in_use_is_refused_in_one_line(node: RabbitNode) -> None:
    code = (
        "import sys; from pathlib import Path; from libs.messaging.embedded import RabbitNode, RabbitUnavailable\n"
        "try: RabbitNode(Path(sys.argv[1])).start()\n"
        "except RabbitUnavailable as error: print(error)"
    )

    said = subprocess.run([sys.executable, "-c", code, node.root], capture_output=True, text=True, check=True)

    assert f"in use by process {os.getpid()}" in said.stdout


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells a child that its parent is gone")
def test_nothing_is_left_when_its_starter_is_killed(node: RabbitNode, tmp_path: Path) -> None:
    """Killed in the middle of the start, the harder case: the port mapper and half a node are running then."""
    code = (
        "import sys; from pathlib import Path; from libs.messaging.embedded import RabbitNode\n"
        "RabbitNode(Path(sys.argv[1]), plugins=()).start()"
    )
    starter = subprocess.Popen([sys.executable, "-c", code, tmp_path])
    wait = time.monotonic() + 30
    while not (tmp_path / "pid").exists():
        assert time.monotonic() < wait, "the node never wrote its pid"
        time.sleep(0.05)

    starter.kill()
    starter.wait()

    wait = time.monotonic() + 30
    while rest := processes_of(tmp_path):
        assert time.monotonic() < wait, f"left behind: {rest}"
        time.sleep(0.1)


def processes_of(root: Path) -> list[str]:
    """Command lines of live processes whose environment names `root`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"HOME={root}\0".encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return [command for command in found if command]
