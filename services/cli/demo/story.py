"""The demo: two agencies, simulated providers that lie as the real ones do, and the books checked at the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import orjson
import uvicorn
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from libs.child_process import free_port
from libs.client.client import OutriderClient
from libs.errors import PlatformError
from libs.providers.simulation import post_all
from libs.state import state_root
from services.cli.demo import books, tables
from services.cli.demo.cast import Account, Agency
from services.cli.demo.providers import CLIENTS, PROVIDERS, DemoProvider
from services.cli.processes import House, ServiceDied

DRAIN_SECONDS = 300  # a minute is plenty; a machine that does ten other things at once needs more
FOLD_SECONDS = 0.4  # how often the services tell their counts
_AGENCIES = ("Northlight Outreach", "Harbour & Finch")
_COMPANIES = (("North Pier", "Quayside Tools"), ("Finch Paper", "Larkspur Labs"))


class DemoFailed(Exception):
    """What did not add up, one reason a line."""


class Demo:
    def __init__(
        self, *, broker: str | None, kill: bool, webhooks: int, seed: int, as_json: bool, talk: Console
    ) -> None:
        self._broker = broker
        self._kill = kill
        self._webhooks = webhooks
        self._seed = seed
        self._as_json = as_json
        self._talk = talk
        self._agencies: list[Agency] = []

    async def run(self) -> int:
        """Play it; answers the exit code: 0 only if the ledger balances and the analytics equal the simulators' journals."""
        started = time.monotonic()
        folder = state_root() / "demo"
        folder.mkdir(exist_ok=True)
        folder.chmod(0o711)
        house = House(
            folder,
            broker=self._broker,
            database="demo",
            fixed_ports=False,
            say=lambda line: self._talk.print(f"[dim]{line}[/dim]"),
            extra_env={
                "OUTRIDER_LEDGER_FOLD_SECONDS": str(FOLD_SECONDS),
                "PROVIDER_SYNC_ALLOW_LOOPBACK": "true",  # that is where the simulated providers are
                "PROVIDER_SYNC_CALLS_PER_MINUTE": ",".join(
                    f"{provider.name}=60000" for provider in PROVIDERS
                ),  # a minute is all
            },
        )
        try:
            async with AsyncExitStack() as stack:
                stack.callback(house.close)
                result = await self._play(house, stack)
        except (PlatformError, DemoFailed) as error:
            self._talk.print(f"[red]{error}[/red]")
            self._talk.print(f"logs: {folder / 'logs'}")
            print("demo: failed")
            return 1
        seconds = time.monotonic() - started
        if self._as_json:
            print(orjson.dumps(result | {"seconds": round(seconds, 1)}, option=orjson.OPT_INDENT_2).decode())
        totals = result["totals"]
        words = " ".join(f"{name}={totals[name]}" for name in books.TOTALS)
        print(f"demo: ok {words} seconds={seconds:.0f}")
        return 0

    async def _play(self, house: House, stack: AsyncExitStack) -> dict[str, Any]:
        simulators = {
            provider.name: [
                provider.simulate(f"sim-{self._seed}-{number}", self._seed * 10 + number)
                for number in range(len(_AGENCIES))
            ]
            for provider in PROVIDERS
        }
        urls = {provider.name: await serve(provider.app(*simulators[provider.name]), stack) for provider in PROVIDERS}
        await house.open()
        platform = await stack.enter_async_context(OutriderClient(house.gateway_url, house.platform_key))
        for number, name in enumerate(_AGENCIES):
            client, companies = await self._found(platform, number, house, stack)
            agency = Agency(name, client, [])
            for provider in PROVIDERS:
                simulator = simulators[provider.name][number]
                agency.accounts.append(await self._open_account(agency, provider, simulator, urls, companies, house))
            self._agencies.append(agency)
        self._talk.print(
            "two organizations, two companies each, an account each at " + ", ".join(one.title for one in PROVIDERS)
        )
        await self._post(house)
        await self._until_drained("all webhooks applied", house)
        runs = [
            await self._reconcile(agency, account, house)
            for agency in self._agencies
            for account in agency.accounts
            if account.provider.withheld
        ]
        await self._until_drained("the repairs applied", house)
        result = await books.check(self._agencies, runs, killed=self._kill)
        if not self._as_json:
            tables.show(result)
        if result["problems"]:
            raise DemoFailed("\n".join(result["problems"]))
        return result

    async def _found(
        self, platform: OutriderClient, number: int, house: House, stack: AsyncExitStack
    ) -> tuple[OutriderClient, list[str]]:
        """An organization with its companies, and a client that holds an administrator's key of it."""
        organization = await platform.create_organization(_AGENCIES[number], time_zone="UTC")
        staff = await stack.enter_async_context(
            OutriderClient(house.gateway_url, house.platform_key, org=organization["id"])
        )
        key = await staff.create_api_key("demo", role="org_admin")
        client = await stack.enter_async_context(OutriderClient(house.gateway_url, key["key"]))
        return client, [(await client.create_company(name))["id"] for name in _COMPANIES[number]]

    async def _open_account(
        self,
        agency: Agency,
        provider: DemoProvider,
        simulator: Any,
        urls: dict[str, str],
        companies: list[str],
        house: House,
    ) -> Account:
        clients = {str(external): company for external, company in zip(CLIENTS, companies, strict=True)}
        account = await _eventually(
            lambda: agency.client.create_provider_account(
                provider=provider.name,
                name=f"{agency.name} at {provider.title}",
                company_id=companies[0],
                base_url=urls[provider.name] + provider.path,
                credentials={"api_key": simulator.api_key},
                **({"client_companies": clients} if provider.has_clients else {}),
            )
        )

        async def registered() -> bool:
            shown = await agency.client.provider_account(account["id"])
            return bool(shown["webhook_endpoint"]["status"] == "registered")

        await _until(registered, DRAIN_SECONDS, f"{provider.title} was told where to post", house)
        plan = simulator.deliveries(
            self._webhooks // (len(_AGENCIES) * len(PROVIDERS)),
            garbage=3,
            poison=1,
            unknown=2,
            withhold=provider.withheld,
            seed=self._seed,
        )
        return Account(provider, simulator, account["id"], plan)

    async def _post(self, house: House) -> None:
        accounts = [account for agency in self._agencies for account in agency.accounts]
        total = sum(len(account.plan.to_send()) for account in accounts)
        finished = [0] * len(accounts)
        columns = (TextColumn("webhooks"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._talk, transient=True) as progress:
            bar = progress.add_task("webhooks", total=total)

            def on_progress(number: int) -> Callable[[int, int], None]:
                def moved(done: int, _: int) -> None:
                    finished[number] = done
                    progress.update(bar, completed=sum(finished))

                return moved

            async with asyncio.TaskGroup() as group:
                for number, account in enumerate(accounts):
                    group.create_task(
                        post_all(
                            account.plan,
                            account.url_for,
                            concurrency=8,
                            on_progress=on_progress(number),
                            until_acknowledged=True,
                        )
                    )
                if self._kill:
                    group.create_task(self._crash(house, lambda: sum(finished) / total))

    async def _crash(self, house: House, progress: Callable[[], float]) -> None:
        """kill -9 each process in turn, at even distances on the way, and start it again at once."""
        async with asyncio.TaskGroup() as restarting:
            for number, name in enumerate(house.names):
                at = 0.15 + 0.7 * number / len(house.names)
                while progress() < at:  # noqa: ASYNC110 - a number that the posts move, looked at now and then
                    await asyncio.sleep(0.005)
                house.kill(name)
                self._talk.print(f"[yellow]kill -9 {name} at {progress():.0%}[/yellow]")
                house.start(name)
                restarting.create_task(house.ready(name))

    async def _reconcile(self, agency: Agency, account: Account, house: House) -> dict[str, Any]:
        run = await agency.client.start_reconciliation(account.id)

        async def ended() -> bool:
            nonlocal run
            run = await agency.client.reconciliation(run["id"])
            return run["state"] in ("completed", "failed")

        await _until(ended, DRAIN_SECONDS, "the reconciliation ended", house)
        return {
            "organization": agency.name,
            "provider": account.provider.name,
            "withheld": account.provider.withheld,
            **run,
        }

    async def _until_drained(self, what: str, house: House) -> None:
        """Nothing waits anywhere, and no count has moved for longer than the services take to tell theirs."""
        before: list[dict[str, Any]] = []
        still_since = time.monotonic()

        async def drained() -> bool:
            nonlocal before, still_since
            ledgers = [await agency.client.ledger(settle_seconds=0) for agency in self._agencies]
            counts = [{hop["queue"] + hop["event_type"]: hop["sent"] for hop in ledger["data"]} for ledger in ledgers]
            acknowledged = [sum(len(plan.acknowledged()) for plan in agency.plans()) for agency in self._agencies]
            if counts != before or not all(map(books.is_drained, ledgers, acknowledged)):
                before, still_since = counts, time.monotonic()
            return time.monotonic() - still_since > 3 * FOLD_SECONDS

        await _until(drained, DRAIN_SECONDS, what, house)


async def serve(app: Any, stack: AsyncExitStack) -> str:
    """The simulated provider on a port of its own."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, lifespan="off"))
    server.capture_signals = AsyncExitStack  # type: ignore[assignment,method-assign]
    task = asyncio.create_task(server._serve())

    async def stop() -> None:
        server.should_exit = True
        await task

    stack.push_async_callback(stop)
    while not server.started:  # noqa: ASYNC110 - uvicorn sets a flag, no event
        await asyncio.sleep(0.02)
    return f"http://127.0.0.1:{port}"


async def _eventually(call: Callable[[], Awaitable[dict[str, Any]]], seconds: float = 60) -> dict[str, Any]:
    """Companies reach provider_sync as events: what is refused in the first moments is asked again."""
    from libs.client.client import ApiProblem

    deadline = time.monotonic() + seconds
    while True:
        try:
            return await call()
        except ApiProblem as problem:
            if problem.status != 422 or time.monotonic() > deadline:
                raise DemoFailed(str(problem)) from problem
            await asyncio.sleep(0.1)


async def _until(condition: Callable[[], Awaitable[bool]], seconds: float, what: str, house: House) -> None:
    deadline = time.monotonic() + seconds
    while not await condition():
        for name in house.dead():
            raise ServiceDied(f"{name} ended by itself; its log ends:\n{house.last_words(name)}")
        if time.monotonic() > deadline:
            raise DemoFailed(f"not within {seconds:.0f} s: {what}")
        await asyncio.sleep(0.2)
