"""The `outrider` command. Data goes to stdout, talk to stderr; errors are one line that says what to do."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from libs.errors import PlatformError
from libs.state import CHECKOUT, state_root
from services.cli import audit, dead_letters, export, keys, rebuild, replay, resend, retention

app = typer.Typer(
    help="Outrider: one backend over many outreach providers.", no_args_is_help=True, pretty_exceptions_enable=False
)
app.add_typer(audit.app, name="audit")
app.add_typer(keys.app, name="keys")
app.add_typer(rebuild.app, name="rebuild")
app.add_typer(resend.app, name="resend")
app.add_typer(retention.app, name="retention")
app.command("export")(export.export)
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(replay.app, name="replay")
talk = Console(stderr=True)

Broker = Annotated[
    str | None, typer.Option(help="`rabbitmq`: a process per service on a real broker; absent: one process.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]


@app.command()
def demo(
    broker: Broker = None,
    kill: Annotated[bool, typer.Option("--kill", help="kill -9 what runs in the middle, and start it again.")] = False,
    webhooks: Annotated[int, typer.Option(help="How many webhooks to post, over both organizations.", min=200)] = 2400,
    seed: Annotated[int, typer.Option(help="Decides what the simulated provider plays.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Run the whole house for a minute, with simulated providers, and check that all adds up."""
    from services.cli.demo.story import Demo  # the services' imports take a second that `--help` need not wait

    _check_broker(broker)
    sys.exit(
        asyncio.run(Demo(broker=broker, kill=kill, webhooks=webhooks, seed=seed, as_json=as_json, talk=talk).run())
    )


@app.command()
def up(broker: Broker = None) -> None:
    """Start everything and stay; Ctrl-C (or `outrider down` elsewhere) ends it."""
    from services.cli.stay import stay_up

    _check_broker(broker)
    asyncio.run(stay_up(broker, talk))


@app.command()
def down() -> None:
    """End what `outrider up` started on this machine."""
    from services.cli.stay import take_down

    take_down(talk)


@app.command()
def simulate(
    port: Annotated[int, typer.Option(help="Where to listen; 0 takes a free one.", min=0, max=65535)] = 8100,
    host: Annotated[
        str, typer.Option(help="Whom to listen to. Nobody is asked for a name: leave it loopback.")
    ] = "127.0.0.1",
    seed: Annotated[int, typer.Option(help="Decides who is there and what they do.")] = 1,
    reactions: Annotated[
        float, typer.Option(help="How many leads react by themselves: 1 many, 0 none.", min=0, max=10)
    ] = 1.0,
    speed: Annotated[
        float, typer.Option(help="How fast its time passes; 0: only when the control API says so.", min=0, max=100_000)
    ] = 1.0,
    limits: Annotated[bool, typer.Option(help="Allow each key what its provider allows, and no more.")] = True,
    hold_webhooks: Annotated[
        bool, typer.Option("--hold-webhooks", help="Post webhooks only when the control API says so.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")] = False,
) -> None:
    """Serve simulated Smartlead, HeyReach and EmailBison, with a control API for time and faults, until Ctrl-C."""
    from services.cli.simulate.serve import serve

    asyncio.run(
        serve(host=host, port=port, seed=seed, reactions=reactions, speed=speed, limited=limits,
              holds_webhooks=hold_webhooks, as_json=as_json)
    )  # fmt: skip


@app.command()
def migrate() -> None:
    """Bring the database at DATABASE_URL (an administrator's login) to this version; makes roles and secrets too."""
    from services.cli.prepare import first_key, prepare_database

    url = os.environ.get("DATABASE_URL")
    if not url:
        raise typer.BadParameter(
            "set DATABASE_URL to an administrator's login, postgresql://user:password@host:5432/name"
        )
    revisions = asyncio.run(prepare_database(url))
    for service, revision in revisions.items():
        print(f"{service}\t{revision}")
    asyncio.run(first_key(url, state_root()))
    talk.print(f"secrets and the first platform key are in {state_root()}, readable by you only")


@app.command()
def topology() -> None:
    """Declare exchanges, queues and bindings on the broker at AMQP_URL."""
    import libs.contracts.events  # noqa: F401 - fills the registry
    from libs.messaging.topology import declare

    url = os.environ.get("AMQP_URL")
    if not url:
        raise typer.BadParameter("set AMQP_URL to the broker, amqp://user:password@host:5672/")
    for queue in asyncio.run(declare(url)):
        print(queue)


@app.command()
def contracts(
    folder: Annotated[Path, typer.Option(help="Where to write; the default is the repository's.")] = CHECKOUT
    / "contracts",
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Write nothing; list what is not as the code says, and broken promises of releases."
        ),
    ] = False,
    release: Annotated[str | None, typer.Option(help="Keep the contracts as those of this version, v0.1.0.")] = None,
) -> None:
    """Write the JSON Schemas of all events, asyncapi.yaml and openapi.json from the code; or check or release them."""
    from libs.contracts import compatibility, documents
    from services.cli import openapi

    if (check or release is not None) and not folder.is_dir():
        raise typer.BadParameter(f"no contracts in {folder}")
    if check and release is not None:
        raise typer.BadParameter("--release checks by itself: say one of the two")
    if check:
        releases = compatibility.released(folder)
        if not releases:
            talk.print("contracts: nothing is released yet, so nothing can break")
        expected = documents.documents() | {openapi.FILE: openapi.content()}
        broken = [
            f"{name} is not what the code says: run `make contracts`, review, commit"
            for name in documents.drifted(folder, expected)
        ]
        broken += compatibility.breaches(releases, compatibility.promises())
        if broken:
            print(*broken, sep="\n")
            sys.exit(1)
    elif release is not None:
        print(compatibility.release(folder, release, CHECKOUT / "tests" / "contract" / "events" / "samples"))
        talk.print(f"kept for ever: commit it, then tag that commit by hand: git tag {release}", highlight=False)
    else:
        written = documents.write(folder)
        (folder / openapi.FILE).write_bytes(openapi.content())
        print(*written, folder / openapi.FILE, sep="\n")


def _check_broker(broker: str | None) -> None:
    if broker not in (None, "rabbitmq"):
        raise typer.BadParameter(f"no broker named {broker!r}: leave it out, or say rabbitmq")


def run() -> None:
    """The console script: errors that we raise on purpose are for people, one line each."""
    try:
        app()
    except PlatformError as error:
        talk.print(f"[red]outrider:[/red] {error}")
        sys.exit(1)
