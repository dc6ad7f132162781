"""Two channels and three providers beside each other: each campaign has its channel's figures, and they are the books'."""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import orjson
import pytest

from libs.ids import OrgId, new_id, public_id
from libs.providers.emailbison.simulator import EmailBisonSimulator
from libs.providers.heyreach.simulator import HeyReachSimulator
from libs.providers.registry import PROVIDERS
from libs.providers.sightings import Reading
from services.analytics.handlers.rebuilding import rebuild
from services.analytics.metrics import CHANNELS
from tests.integration.services.analytics.conftest import NOON, Agency, Analytics, ProviderSync

ADA, NILS, IMANI = ("linkedin:in/ada-example", "linkedin:in/nils-example", "linkedin:in/imani-example")


async def _campaigns(analytics: Analytics, org_id: OrgId, **query: Any) -> dict[str, dict[str, Any]]:
    answer = await analytics.told("/analytics/campaigns", org_id, **query)
    return {row["campaign_id"]: row for row in answer["data"]}


def _counts(row: dict[str, Any]) -> dict[str, tuple[int, int]]:
    return {name: (one["total"], one["unique"]) for name, one in row["metrics"].items()}


async def test_each_linkedin_metric_counts_what_it_says(
    analytics: Analytics, linkedin: Agency, stranger: Agency
) -> None:
    theirs = Agency(stranger.org_id, linkedin.account_id, provider="heyreach", channel="linkedin")  # the same ids
    await analytics.hears(
        linkedin.campaign(),
        linkedin.engagement("connection_requested", lead=ADA),
        linkedin.engagement("connection_requested", lead=NILS),
        linkedin.engagement("connection_accepted", lead=ADA),
        linkedin.engagement("profile_viewed", lead=ADA, key="v1"),
        linkedin.engagement("profile_viewed", lead=ADA, key="v2"),
        linkedin.engagement("followed", lead=NILS),
        linkedin.engagement("liked", lead=IMANI),
        linkedin.engagement("categorized", lead=ADA),
        linkedin.engagement("categorized", lead=ADA, key="tag", campaign=None),
        linkedin.message("m1", lead=ADA, manual=False, inmail=False),
        linkedin.message("m2", lead=ADA, manual=False),
        linkedin.message("m3", lead=IMANI, manual=False, inmail=True),
        linkedin.message("m4", lead=ADA, manual=False, inmail=True),  # who had both is one lead
        linkedin.message("slice", lead=ADA, campaign=None),
        linkedin.message("by-hand", lead=NILS, manual=True, source="inferred"),
        linkedin.reply("r1", lead=ADA),
        linkedin.reply("r2", lead=ADA, inmail=True),
        linkedin.reply("elsewhere", lead=NILS, campaign=None),
    )
    await analytics.hears(theirs.campaign(), theirs.message("m1", lead=ADA, inmail=True), theirs.message("m9"))

    [row] = (await _campaigns(analytics, linkedin.org_id)).values()

    assert _counts(row) == {
        "connection_requests": (2, 2),
        "connections_accepted": (1, 1),
        "sent": (4, 2),
        "messages_sent": (2, 1),
        "inmails_sent": (2, 2),
        "replied": (2, 1),
        "inmail_replies": (1, 1),
        "profile_views": (2, 1),
        "follows": (1, 1),
        "likes": (1, 1),
        "manual": (1, 1),
    }
    assert row["rates"] == {
        "acceptance_rate": {
            "value": 0.5, "numerator": "connections_accepted.unique", "numerator_value": 1,
            "denominator": "connection_requests.unique", "denominator_value": 2,
        },
        "reply_rate": {
            "value": 0.5, "numerator": "replied.unique", "numerator_value": 1,
            "denominator": "sent.unique", "denominator_value": 2,
        },
    }  # fmt: skip
    assert (row["channel"], row["provider"]) == ("linkedin", "heyreach")
    assert row["provenance"] == {"webhook": 13, "pull": 0, "inferred": 1}
    [row] = (await _campaigns(analytics, theirs.org_id)).values()
    assert (row["metrics"]["messages_sent"]["total"], row["metrics"]["inmails_sent"]["total"]) == (1, 1)


@pytest.mark.parametrize(
    ("manual", "step", "is_dated", "metric"),
    [
        (None, 1, True, "sent"),
        (None, 1, False, "sent"),
        (None, None, False, "sent"),  # known by its opening alone
        (None, None, True, "manual"),
        (False, None, True, "sent"),
        (False, None, False, "sent"),
        (True, None, True, "manual"),
        (True, None, False, "manual"),
    ],
)
async def test_who_wrote_a_mail_is_what_is_stated_and_else_what_its_step_says(
    analytics: Analytics, agency: Agency, manual: bool | None, step: int | None, is_dated: bool, metric: str
) -> None:
    at = NOON if is_dated else None
    await analytics.hears(agency.campaign(), agency.message("m1", manual=manual, step=step, at=at))

    [row] = (await _campaigns(analytics, agency.org_id)).values()

    assert {name for name, (total, _) in _counts(row).items() if total} - {"delivered"} == {metric}


async def test_a_campaign_has_the_metrics_of_its_channel_and_can_be_asked_for_by_it(
    analytics: Analytics, agency: Agency, linkedin: Agency, stranger: Agency
) -> None:
    await analytics.hears(
        agency.campaign("mail"),
        agency.message("m1", campaign="mail"),
        linkedin.campaign("links"),
        linkedin.message("m1", campaign="links"),
        linkedin.message("m2", campaign="heard-of"),  # no fact of its own: its channel is its messages'
        linkedin.engagement("followed", campaign="touched"),
        agency.step(1, "bare"),  # of this one nobody told the channel
        stranger.campaign("theirs"),
    )
    sets = {channel: set(counted.names) for channel, counted in CHANNELS.items()}

    rows = await _campaigns(analytics, agency.org_id)
    by_channel = {
        channel: set(await _campaigns(analytics, agency.org_id, channel=channel)) for channel in ("email", "linkedin")
    }

    mail, bare = (public_id("cam", agency.id_of("campaign", key)) for key in ("mail", "bare"))
    links = {public_id("cam", linkedin.id_of("campaign", key)) for key in ("links", "heard-of", "touched")}
    assert by_channel == {"email": {mail}, "linkedin": links}
    assert set(rows) == {mail, bare} | links
    assert {one: (rows[one]["channel"], set(rows[one]["metrics"])) for one in rows} == {
        mail: ("email", sets["email"]),
        bare: (None, set()),
        **dict.fromkeys(links, ("linkedin", sets["linkedin"])),
    }


async def test_a_channel_without_steps_shows_none_and_says_so(
    analytics: Analytics, agency: Agency, linkedin: Agency, stranger: Agency
) -> None:
    links, mail = (public_id("cam", one.id_of("campaign", "c1")) for one in (linkedin, agency))
    await analytics.hears(
        agency.campaign(),
        agency.message("m1", step=1),
        linkedin.campaign(),
        linkedin.message("m1"),
        linkedin.engagement("liked", step=3),
        stranger.message("m1", step=7),
    )

    async def steps(**query: Any) -> tuple[list[tuple[str, int]], list[str]]:
        answer = await analytics.told("/analytics/sequence-steps", agency.org_id, **query)
        return [(row["campaign_id"], row["number"]) for row in answer["data"]], answer["channels_without_steps"]

    assert await steps() == ([(mail, 1)], ["linkedin"])
    assert await steps(channel="email") == ([(mail, 1)], [])
    assert await steps(campaign_id=mail) == ([(mail, 1)], [])
    assert await steps(channel="linkedin") == ([], ["linkedin"])
    assert await steps(campaign_id=links) == ([], ["linkedin"])
    assert await steps(account_id=public_id("acc", linkedin.account_id)) == ([], ["linkedin"])


def _readings(provider: str, payloads: Iterable[object]) -> list[Reading]:
    return [PROVIDERS[provider].webhooks.read_webhook(orjson.dumps(payload)) for payload in payloads]


async def _told_in_any_order(analytics: Analytics, agency: Agency, readings: list[Reading]) -> None:
    rng = random.Random(5)
    rng.shuffle(readings)
    facts = ProviderSync(agency).told(readings)
    rng.shuffle(facts)
    for start in range(0, len(facts), 100):
        await analytics.hears(*facts[start : start + 100])
    before = await analytics.rows(agency.org_id)
    await rebuild(analytics.database, agency.org_id)
    assert await analytics.rows(agency.org_id) == before


async def test_heyreachs_figures_are_its_books(analytics: Analytics, linkedin: Agency) -> None:
    played = HeyReachSimulator(seed=3, now=NOON)
    readings = _readings("heyreach", [one.payload for one in played.play(500)])
    other = Agency(OrgId(new_id()), linkedin.account_id, provider="heyreach", channel="linkedin")
    await analytics.hears(*ProviderSync(other).told(readings[:50]))

    await _told_in_any_order(analytics, linkedin, readings)

    books = played.journal.expected().by_campaign
    inmails = {thread.key(said) for thread in played.account.threads if thread.is_inmail for said in thread.said}
    leads: dict[tuple[str, str], set[str]] = defaultdict(set)
    by_inmail: dict[tuple[str, str], int] = defaultdict(int)
    for note in played.journal.notes:
        leads[note.campaign, note.what].add(note.lead_key)
        by_inmail[note.campaign, note.what] += note.message_key in inmails
    rows = await _campaigns(analytics, linkedin.org_id)
    assert len(rows) == len(books) == 3
    for campaign, book in books.items():
        row = rows[public_id("cam", linkedin.id_of("campaign", campaign))]
        sent, replied = by_inmail[campaign, "sent"], by_inmail[campaign, "replied"]
        assert {name: total for name, (total, _) in _counts(row).items()} == {
            "connection_requests": book.connection_requested,
            "connections_accepted": book.connection_accepted,
            "sent": book.sent,
            "messages_sent": book.sent - sent,
            "inmails_sent": sent,
            "replied": book.replied,
            "inmail_replies": replied,
            "profile_views": book.profile_viewed,
            "follows": book.followed,
            "likes": book.liked,
            "manual": 0,
        }
        assert row["metrics"]["replied"]["unique"] == book.replied_leads
        assert row["metrics"]["sent"]["unique"] == len(leads[campaign, "sent"])
        accepted, asked = leads[campaign, "connection_accepted"], leads[campaign, "connection_requested"]
        assert row["rates"]["acceptance_rate"]["value"] == round(len(accepted) / len(asked), 6)
        assert sent


async def test_emailbisons_figures_are_its_books_by_campaign_and_step(analytics: Analytics, agency: Agency) -> None:
    bison = Agency(agency.org_id, provider="emailbison")
    played = EmailBisonSimulator(seed=4, now=NOON, answered_by_hand_share=0.8)
    readings = _readings("emailbison", [one.payload for one in played.play(600)])
    other = Agency(OrgId(new_id()), bison.account_id, provider="emailbison")
    await analytics.hears(*ProviderSync(other).told(readings[:50]))

    await _told_in_any_order(analytics, bison, readings)

    books = played.journal.expected()
    rows = await _campaigns(analytics, agency.org_id)
    for campaign, book in books.by_campaign.items():
        row = rows[public_id("cam", bison.id_of("campaign", campaign))]
        _agrees(row, asdict(book), ("sent", "opened", "clicked", "replied", "bounced", "unsubscribed"))
        assert row["metrics"]["manual"]["total"] == book.sent_by_hand
        assert row["metrics"]["delivered"]["total"] == book.sent - book.bounced
        assert row["metrics"]["opened"]["unique"] == book.opened_leads
        assert row["metrics"]["replied"]["unique"] == book.replied_leads
    assert books.overall.sent_by_hand
    assert books.overall.categorized  # interested leads: kept, and counted by no metric
    steps = (await analytics.told("/analytics/sequence-steps", agency.org_id))["data"]
    told = {(row["campaign_id"], row["number"]): row for row in steps}
    for (campaign, step), book in books.by_step.items():
        if step is not None:
            row = told[public_id("cam", bison.id_of("campaign", campaign)), step]
            _agrees(row, asdict(book), ("sent", "opened", "replied", "bounced"))


def _agrees(row: dict[str, Any], book: dict[str, int], names: Iterable[str]) -> None:
    names = tuple(names)
    assert {name: row["metrics"][name]["total"] for name in names} == {name: book[name] for name in names}


async def test_three_providers_of_one_org_share_no_figure(
    analytics: Analytics, agency: Agency, linkedin: Agency, stranger: Agency
) -> None:
    bison = Agency(agency.org_id, provider="emailbison")
    accounts = (agency, bison, linkedin)
    for one, number in itertools.product(accounts, range(3)):
        await analytics.hears(one.campaign(), one.message(f"m{number}"), stranger.message(f"m{number}"))

    for one in accounts:
        [row] = (await _campaigns(analytics, one.org_id, account_id=public_id("acc", one.account_id))).values()
        assert (row["provider"], row["channel"], row["metrics"]["sent"]["total"]) == (one.provider, one.channel, 3)
