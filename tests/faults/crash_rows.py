"""Rows that crash a service at a named place (libs.crash) while webhooks come in; all places: `make crash-grid`."""

from __future__ import annotations

from libs.crash import Crash
from tests.faults.ground import Ground
from tests.faults.load import Load, until
from tests.faults.rows import Break, Row, proven


def _at(place: str, service: str, *, crashes: int = 3) -> Break:
    """One after the other, each in a process that has just started."""

    async def act(ground: Ground, load: Load) -> str:
        house, crash = ground.house, Crash(place)
        for number in range(crashes):
            await load.reached(0.2 * (number + 1), seconds=120)
            house.stop(service)
            house.start(service, env={"CRASH_AT": str(crash)})

            async def crashed() -> bool:
                return service in house.dead()

            await until(crashed, 60, f"{service} passes {place}", every=0.05)
            assert house.exit_code(service) == -9
            house.start(service)
            await house.ready(service)
        said = (ground.folder / "logs" / f"{service}.log").read_text().count(f"crash_point {crash}")
        return proven(said == crashes, f"{said} × SIGKILL of {service} at {place}")

    return act


ROWS = (
    Row(
        id="F14",
        fault="crash after commit, before publishing",
        act=_at("relay.taken", "webhook_ingest"),
        posts=300,
    ),
    Row(
        id="F15",
        fault="crash after publishing, before marking",
        act=_at("relay.published", "webhook_ingest", crashes=1),
        posts=60,
        quick=_at("relay.published", "webhook_ingest", crashes=1),
    ),
    Row(id="F16", fault="crash after commit, before ack", act=_at("broker.handled", "provider_sync"), posts=300),
    Row(id="F17", fault="crash before commit", act=_at("consumer.handled", "provider_sync"), posts=300),
)
