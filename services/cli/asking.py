"""What commands that ask the gateway have in common: where it is, as whom, how answers are shown, how they end.

Exit codes: 0 done, 1 failed, 2 wrongly called, 3 not there, 4 not allowed, 5 not as it was any more, 6 done in part,
7 something that is needed does not answer.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, NoReturn, TypeVar

import httpx
import orjson
import typer
from rich.console import Console

from libs.client.client import ApiProblem, OutriderClient
from libs.settings import PORTS

FAILED, USAGE, NOT_FOUND, DENIED, CONFLICT, PARTIAL, DOWN = 1, 2, 3, 4, 5, 6, 7
_OF_STATUS = {401: DENIED, 403: DENIED, 404: NOT_FOUND, 409: CONFLICT, 422: USAGE, 429: DOWN, 503: DOWN, 504: DOWN}
SERVICES = ("provider-sync", "analytics", "reconciliation", "webhook-ingest", "gateway")

talk = Console(stderr=True)
T = TypeVar("T")

Url = Annotated[str, typer.Option(envvar="OUTRIDER_URL", help="The gateway's address.")]
Key = Annotated[
    str, typer.Option(envvar="OUTRIDER_KEY", help="An API key; better in the environment than on the line.")
]
Org = Annotated[str | None, typer.Option(envvar="OUTRIDER_ORG", help="With a platform key: the organization (org_…).")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask; needed where nobody can be asked.")]
DEFAULT_URL = f"http://127.0.0.1:{PORTS['gateway']}"

connect: Callable[[str, str, str | None], OutriderClient] = OutriderClient


def asked(url: str, key: str, org: str | None, what: Callable[[OutriderClient], Awaitable[T]]) -> T:
    """What the API answers; what it refuses ends the command with the code for it."""

    async def ask() -> T:
        async with connect(url, key, org) as client:
            return await what(client)

    if not key:
        end(USAGE, "no key: set OUTRIDER_KEY")
    try:
        return asyncio.run(ask())
    except ApiProblem as problem:
        end(_OF_STATUS.get(problem.status, FAILED), f"{problem.detail} ({problem.code}, {problem.request_id})")
    except httpx.HTTPError as error:
        end(DOWN, f"{url} does not answer: {type(error).__name__}")


def end(code: int, why: str) -> NoReturn:
    talk.print(f"[red]outrider:[/red] {why}", highlight=False)
    sys.exit(code)


def confirm(question: str, *, yes: bool) -> None:
    """Go on only when a person, or --yes, says so."""
    if yes:
        return
    if not sys.stdin.isatty():
        end(USAGE, f"{question} Nobody can be asked here: say --yes")
    if not typer.confirm(question, err=True):
        end(FAILED, "nothing was done")


def show(document: Any) -> None:
    print(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
