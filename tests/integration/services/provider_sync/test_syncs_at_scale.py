"""10,000 leads and 50,000 messages from empty: in memory that a page bounds, through kills, and with no call twice."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from libs import clock
from libs.providers.smartlead.simulator.model import Enrolment, Lead, Reply, Sent
from tests.integration.services.provider_sync.house import House

pytestmark = pytest.mark.heavy
CAMPAIGNS, MAILS_EACH, KILLED_EVERY, WARM_UP = 4, 4, 97, 20
BODY = "<p>" + "a line of a mail, as long as such lines are. " * 20 + "</p>"


class Killed(BaseException):
    pass


class Watch:
    """At the provider's door: which calls were made, how much they answered, how much memory there is, a kill now and then."""

    def __init__(self, house):
        self._call = house.http._transport.handle_async_request
        self.calls: list[tuple[str, str, bytes]] = []
        self.kills = self.kills_every = self.received = 0
        self.warm = self.most = 0
        house.http._transport.handle_async_request = self

    async def __call__(self, request):
        self.calls.append((request.method, str(request.url), await request.aread()))
        if len(self.calls) == WARM_UP:
            self.warm = self.most = resident()
        self.most = max(self.most, resident())
        response = await self._call(request)
        self.received += len(await response.aread())
        if self.kills_every and len(self.calls) % self.kills_every == 0:
            self.kills += 1
            raise Killed
        return response


def resident():
    """Bytes of memory that this process (the simulated provider too) has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def fill(house, leads):
    """`leads` in all, each with MAILS_EACH mails and a reply to the last, all of some days ago."""
    account, start = house.simulator.account, clock.now() - timedelta(days=9)
    number = 0
    for place, campaign in enumerate(account.campaigns):
        campaign.enrolments.clear()
        for index in range(leads // len(account.campaigns)):
            number += 1
            lead = Lead(4_200_000_000 + number, f"lead{number}@big.example.com", "Ada", "Example", "Big", start)
            account.leads[lead.address] = lead
            enrolment = Enrolment(3_400_000_000 + number, lead, account.mailboxes[0], start, status="STOPPED")
            for step in range(MAILS_EACH):
                at = start + timedelta(hours=step, milliseconds=index)
                stats_id = str(UUID(int=number * 100 + step))
                mailbox = enrolment.mailbox
                enrolment.sent.append(
                    Sent(stats_id, campaign.steps[min(step, len(campaign.steps) - 1)], mailbox, at, "Hello", BODY, BODY)
                )
            reply_at = start + timedelta(days=2, seconds=number)
            enrolment.sent[-1].replies.append(
                Reply(
                    f"<r{place}.{number}@mail.example.com>", reply_at, "Yes", "<p>Yes</p>", lead.address, "SameCompany"
                )
            )
            campaign.enrolments.append(enrolment)


async def read(house, account, run_id):
    """To its end, through kills."""
    while True:
        with suppress(Killed):
            await house.reader().run_due()
        run = await house.run(account, run_id)
        if run["state"] not in ("pending", "running"):
            return run
        async with house.database.tenant_transaction(account.org_id) as session:
            await session.execute("UPDATE sync_runs SET lease_until = now() - interval '1 second'")


async def first_reading(database, units, make_org, leads, *, kills_every=0):
    house = House(database("provider_sync"), units("provider_sync"), clients_of_campaigns=(None,) * CAMPAIGNS)
    fill(house, leads)
    account = await house.open_account(make_org())
    run_id = await house.ask_to_sync(account)
    watch = Watch(house)
    watch.kills_every = kills_every
    run = await read(house, account, run_id)
    watch.kills_every = 0
    assert (run["state"], run["error"]) == ("succeeded", None)
    return house, account, run, watch


async def counts(house, account):
    async with house.database.tenant_transaction(account.org_id) as session:
        found = [
            await session.fetchval(f"SELECT count(*) FROM {table}") for table in ("leads", "enrolments", "messages")
        ]
    async with house.database.transaction() as transaction:
        await transaction.as_dispatch()
        told = await transaction.driver.fetchval("SELECT count(*) FROM outbox WHERE org_id = $1", account.org_id)
    return [*found, told]


async def test_a_large_account_from_empty(database, units, make_org, record_property):
    house, account, run, watch = await first_reading(database, units, make_org, 10_000, kills_every=KILLED_EVERY)

    *held, told = await counts(house, account)
    assert held == [10_000, 10_000, 50_000]
    repeated = len(watch.calls) - len(set(watch.calls))
    grown = watch.most - watch.warm
    figures = {"calls": len(watch.calls), "kills": watch.kills, "repeated": repeated, "pages": run["pages"],
               "MiB received": watch.received >> 20, "MiB grown": grown >> 20}  # fmt: skip
    record_property("figures", figures)
    sys.stderr.write(f"\nat scale: {figures}\n")
    assert watch.kills >= 5
    # A kill costs the page that was not kept. Each turn begins with nothing, so the categories may be asked for again.
    assert repeated <= watch.kills
    # What was read is not kept in memory: a page is some MiB, all of it some hundred.
    assert grown < 64 << 20 < watch.received

    watch.calls.clear()
    second = await house.sync(account)
    assert (second["state"], second["rows_changed"]) == ("succeeded", 0)
    assert (await counts(house, account))[-1] == told
    assert (
        len(watch.calls) == 2 + 3 * CAMPAIGNS
    )  # the campaigns, three lists of each, the inbox: what overlaps is empty
    await house.http.aclose()
