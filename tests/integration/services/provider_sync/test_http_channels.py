"""The inner HTTP face over two channels: lists and filters, one person on both, and what no route knows."""

from __future__ import annotations

import re

import pytest

from libs.database.engine import TenantSession
from libs.ids import public_id
from libs.tenancy.context import CompanyScope
from services.provider_sync.repository.lists import ShownRepository
from tests.integration.services.provider_sync.stage import forget_org_filters, payload, processor, set_stage
from tests.integration.services.provider_sync.test_http import Face

PROFILE = "https://www.linkedin.com/in/ada-example-0001"
PATHS = (
    "/provider-accounts",
    "/email/campaigns",
    "/linkedin/campaigns",
    "/leads",
    "/inbox/conversations",
)


@pytest.fixture
async def face(database, units):
    face = Face(database("provider_sync"), units("provider_sync"))
    yield face
    await face.close()


class Agency:
    """An org with one account at each provider, and what they post."""

    def __init__(self, stages, deliver):
        self.mail, self.linkedin, self.bison = stages
        self.org_id = self.mail.org_id
        self._deliver = deliver

    async def hears(self, stage, *bodies):
        await self._deliver([stage.webhook(body) for body in bodies])

    async def hears_one_story(self, name="Harbour pilot"):
        await self.hears(self.mail, payload("email_sent", campaign_name=name), payload("email_reply"))
        await self.hears(
            self.linkedin,
            payload("message_sent", "heyreach", campaign={"name": name}),
            payload("every_message_reply_received", "heyreach", campaign={"name": name}),
        )


@pytest.fixture
async def agencies(database, units, make_org):
    consumer = processor(database("provider_sync"), "provider-sync.webhooks")
    agencies = []
    for _ in range(2):
        org_id = make_org()
        mail = await set_stage(units("provider_sync"), org_id)
        companies = [mail.account.company_id, *mail.account.clients.values()]
        others = [
            await set_stage(units("provider_sync"), org_id, provider=provider, companies=companies)
            for provider in ("heyreach", "emailbison")
        ]
        agencies.append(Agency((mail, *others), consumer.deliver))
    return agencies


async def test_linkedin_campaigns_are_shown_as_those_by_mail_are(face, agencies):
    agency, other = agencies
    await agency.hears_one_story()
    await other.hears_one_story("Other")

    listed = await face.get("/linkedin/campaigns", agency.org_id)
    (campaign,) = listed["data"]
    assert (campaign["name"], campaign["channel"], campaign["status"]) == ("Harbour pilot", "linkedin", "active")
    assert campaign["account_id"] == public_id("acc", agency.linkedin.account.id)
    assert listed["last_webhook_at"] is not None
    one = await face.get(f"/linkedin/campaigns/{campaign['id']}", agency.org_id)
    assert {name: one[name] for name in campaign} == campaign
    (by_mail,) = (await face.get("/email/campaigns", agency.org_id))["data"]
    assert set(by_mail) == set(campaign)
    assert (await face("GET", f"/email/campaigns/{campaign['id']}", agency.org_id)).status_code == 404
    assert (await face("GET", f"/linkedin/campaigns/{campaign['id']}", other.org_id)).status_code == 404


async def test_leads_and_the_inbox_hold_both_channels_and_can_be_divided(face, agencies):
    agency, other = agencies
    await agency.hears_one_story()
    await other.hears_one_story()
    for path in ("/leads", "/inbox/conversations"):
        both = (await face.get(path, agency.org_id))["data"]
        assert sorted(row["channel"] for row in both) == ["email", "linkedin"]
        for channel in ("email", "linkedin"):
            (row,) = (await face.get(f"{path}?channel={channel}", agency.org_id))["data"]
            assert row in both
            assert row["channel"] == channel
        assert (await face("GET", f"{path}?channel=fax", agency.org_id)).status_code == 422

    (conversation,) = (await face.get("/inbox/conversations?channel=linkedin", agency.org_id))["data"]
    assert (conversation["lead_profile_url"], conversation["lead_email"]) == (PROFILE, None)
    messages = (await face.get(f"/inbox/conversations/{conversation['id']}/messages", agency.org_id))["data"]
    assert [(one["direction"], one["manual"], one["inmail"], one["sequence_step_number"]) for one in messages] == [
        ("outbound", False, False, None), ("inbound", None, False, None),
    ]  # fmt: skip


async def test_a_page_over_both_channels_goes_on_with_its_own_filter_only(face, agencies):
    agency, _ = agencies
    await agency.hears_one_story()
    await agency.hears(
        agency.linkedin, payload("connection_request_sent", "heyreach", lead={"profile_url": "linkedin.com/in/b"})
    )
    first = await face.get("/leads?channel=linkedin&limit=1", agency.org_id)
    second = await face.get(f"/leads?channel=linkedin&limit=1&after={first['next_cursor']}", agency.org_id)
    assert {row["profile_url"] for row in first["data"] + second["data"]} == {PROFILE, "https://www.linkedin.com/in/b"}
    assert not second["has_more"]

    stolen = await face("GET", f"/leads?limit=1&after={first['next_cursor']}", agency.org_id)

    assert (stolen.status_code, stolen.json()["code"]) == (422, "invalid_cursor")


async def test_one_person_on_both_channels_by_profile_and_by_address(face, agencies):
    agency, other = agencies
    for one in agencies:
        await one.hears(
            one.mail,
            # The profile in another spelling; another person of the same name; the profile of nobody.
            payload(
                "lead_category_updated",
                lead_data={"linkedin_profile": "HTTP://linkedin.com/in/Ada-Example-0001/?trk=x"},
            ),
            payload("email_sent", to_email="namesake@x.example.com", to_name="Ada Example", campaign_id=9),
        )
        await one.hears(
            one.linkedin,
            payload("every_message_reply_received", "heyreach"),
            payload("connection_request_sent", "heyreach",
                    lead={"profile_url": "linkedin.com/in/second", "email_address": "dana.ruiz@acme.example.com"}),
        )  # fmt: skip
        await one.hears(one.bison, payload("email_sent", "emailbison"))

    leads = {row["id"]: row for row in (await face.get("/leads", agency.org_id))["data"]}
    theirs = {row["id"] for row in (await face.get("/leads", other.org_id))["data"]}

    ours = {
        (row["channel"], row["email"] or row["profile_url"]): (
            row["channels"], {leads[one]["email"] or leads[one]["profile_url"] for one in row["same_person"]},
        )
        for row in leads.values()
    }  # fmt: skip
    ines, ada, dana = "ines@northpier.example.com", PROFILE, "dana.ruiz@acme.example.com"
    assert ours == {
        ("email", ines): (["email", "linkedin"], {ada}),
        ("linkedin", ada): (["email", "linkedin"], {ines}),
        ("email", dana): (["email", "linkedin"], {dana}),
        ("linkedin", dana): (["email", "linkedin"], {dana}),
        ("email", "namesake@x.example.com"): (["email"], set()),
    }
    assert not theirs & set(leads)
    assert all(other_id != row["id"] for row in leads.values() for other_id in row["same_person"])
    one = next(row for row in leads.values() if row["email"] == ines)
    detail = await face.get(f"/leads/{one['id']}", agency.org_id)
    assert {name: detail[name] for name in one} == one


async def test_who_a_caller_may_not_see_is_nobodys_same_person(face, agencies):
    agency, _ = agencies
    client = agency.mail.account.clients["111"]
    seen = {"client_id": 111, "to_email": "a@x.example.com"}
    await agency.hears(agency.mail, payload("email_sent", **seen))
    await agency.hears(agency.bison, payload("email_sent", "emailbison", data={"lead": {"email": "a@x.example.com"}}))

    (all_of_it, _) = (await face.get("/leads", agency.org_id))["data"]
    (row,) = (await face.get("/leads", agency.org_id, scope=CompanyScope.of([client])))["data"]

    assert len(all_of_it["same_person"]) == 1
    assert (row["same_person"], row["channels"]) == ([], ["email"])


async def test_a_lead_that_was_only_asked_to_connect_is_seen_by_its_company(face, agencies):
    agency, _ = agencies
    await agency.hears(agency.linkedin, payload("connection_request_sent", "heyreach"))

    own = CompanyScope.of([agency.linkedin.account.company_id])
    (lead,) = (await face.get("/leads", agency.org_id, scope=own))["data"]
    (campaign,) = (await face.get("/linkedin/campaigns", agency.org_id, scope=own))["data"]
    assert [lead] == (await face.get(f"/leads?campaign_id={campaign['id']}", agency.org_id, scope=own))["data"]
    foreign = CompanyScope.of([agency.mail.account.clients["111"]])
    assert (await face.get("/leads", agency.org_id, scope=foreign))["data"] == []


async def test_a_thread_of_two_campaigns_is_found_under_both(face, agencies):
    agency, other = agencies
    for one in agencies:
        await one.hears(
            one.linkedin,
            payload("message_sent", "heyreach"),
            payload("every_message_reply_received", "heyreach", campaign={"id": 9, "name": "Later"}),
        )
    campaigns = (await face.get("/linkedin/campaigns", agency.org_id))["data"]
    assert {row["external_id"] for row in campaigns} == {"410233", "9"}
    for campaign in campaigns:
        for path in ("/leads", "/inbox/conversations"):
            assert len((await face.get(f"{path}?campaign_id={campaign['id']}", agency.org_id))["data"]) == 1
            assert (await face.get(f"{path}?campaign_id={campaign['id']}", other.org_id))["data"] == []


@pytest.mark.parametrize("path", PATHS)
async def test_a_parameter_that_a_route_does_not_know_is_refused_with_those_it_does(face, agencies, path):
    agency, _ = agencies

    answer = await face("GET", f"{path}?limit=5&chanel=linkedin", agency.org_id)

    assert answer.status_code == 422
    problem = answer.json()
    assert problem["code"] == "unknown_parameter"
    assert "'chanel'; known here are after" in problem["detail"]
    assert "limit" in problem["detail"]
    assert (await face("GET", f"{path}?limit=5", agency.org_id)).status_code == 200


async def test_routes_without_parameters_know_none(face, agencies):
    agency, _ = agencies
    await agency.hears_one_story()
    for path in PATHS:
        row = (await face.get(path, agency.org_id))["data"][0]
        answer = await face("GET", f"{path}/{row['id']}?expand=all", agency.org_id)
        assert (answer.status_code, answer.json()["code"]) == (422, "unknown_parameter")
        assert "none is known here" in answer.json()["detail"]
    posted = await face("POST", "/provider-accounts?dry_run=true", agency.org_id, json={})
    assert (posted.status_code, posted.json()["code"]) == (422, "unknown_parameter")


async def test_without_org_filters_the_database_still_keeps_same_people_apart(face, agencies, monkeypatch):
    agency, other = agencies
    await agency.hears_one_story()
    await other.hears_one_story()
    paths = ["/leads", "/leads?channel=linkedin", "/inbox/conversations?channel=linkedin", "/linkedin/campaigns"]
    (campaign,) = (await face.get("/linkedin/campaigns", agency.org_id))["data"]
    paths += [f"/leads?campaign_id={campaign['id']}", f"/inbox/conversations?campaign_id={campaign['id']}"]
    expected = [(await face.get(path, agency.org_id))["data"] for path in paths]

    forgotten = forget_org_filters(monkeypatch)

    assert [(await face.get(path, agency.org_id))["data"] for path in paths] == expected
    assert all(row["same_person"] == [] for row in expected[0])
    assert len(forgotten) > len(paths)


async def test_same_people_are_looked_up_by_index_and_never_more_than_asked_for(units, agencies, monkeypatch):
    agency, _ = agencies
    async with units("provider_sync").begin(agency.org_id) as work:
        await work.session.execute(
            """
            INSERT INTO leads (org_id, id, account_id, key, channel, email, profile, sources, versions, revision)
            SELECT $1, gen_random_uuid(), $2, 'k' || n, 'email',
              CASE WHEN n <= 60 THEN 'info@x.example.com' ELSE n || '@x.example.com' END, 'in/' || n, 2, '{}', 1
            FROM generate_series(1, 20000) AS n
            """,
            agency.org_id,
            agency.mail.account.id,
        )
        shown = ShownRepository(work.session)
        rows = await shown.leads(None, 1, channel=None, campaign_id=None, email="info@x.example.com")
        assert len(await shown.same_people(rows[:1], 20)) == 20
    # As a company of the org asks: its policy looks into other tables, and must not keep the indexes from being used.
    original = TenantSession.fetch
    monkeypatch.setattr(TenantSession, "fetch", lambda self, sql, *given: original(self, f"EXPLAIN {sql}", *given))
    scope = CompanyScope.of([agency.mail.account.company_id])
    async with units("provider_sync").begin(agency.org_id, scope) as work:
        plan = "\n".join(row[0] for row in await ShownRepository(work.session).same_people(rows, 20))
    assert {"leads_by_email", "leads_by_profile"} <= set(re.findall(r"on (leads_\w+)", plan)), plan
    assert "Seq Scan on leads" not in plan, plan
