"""Calls as public clients of the three make them, spelled as they spell them: the simulators must answer as expected.

What those clients do and the provider is known to refuse is refused here too, and said so.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from services.cli.simulate.serve import Simulated
from services.cli.simulate.world import KINDS, World

ORIGIN = "http://127.0.0.1:8100"


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async def send(url: str, body: bytes) -> int:
        return 200

    world = World(ORIGIN, send, reactions=0.0)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=Simulated(world)), base_url=ORIGIN) as client:
        yield client


class Client:
    """`call` answers what the client would see; a status other than those it takes for a success fails the test."""

    def __init__(self, http: httpx.AsyncClient, provider: str, **headers: str) -> None:
        self._http = http
        self._base = f"/{provider}{KINDS[provider].api_path}"
        self._params = {"api_key": KINDS[provider].key} if provider == "smartlead" else {}
        self._headers = headers

    async def call(self, method: str, path: str, json: Any = None, *, status: int = 200, **params: Any) -> Any:
        query = {**params.pop("query", {}), **params, **self._params}
        answer = await self._http.request(
            method, self._base + path, params=query or None, json=json, headers=self._headers
        )
        assert answer.status_code == status, (method, path, answer.status_code, answer.text[:300])
        if "json" in answer.headers.get("content-type", "") and answer.content:
            return answer.json()
        return answer.text


async def test_a_command_line_for_smartlead(http: httpx.AsyncClient) -> None:
    """Typed options become the documented bodies; texts are taken for results; a lead is looked for page by page."""
    sl = Client(http, "smartlead", **{"user-agent": "python-httpx/0.28"})
    assert len(await sl.call("GET", "/campaigns", include_tags="true")) == 3
    made = (await sl.call("POST", "/campaigns/create", {"name": "Autumn", "client_id": None}))["id"]
    one = f"/campaigns/{made}"
    hours = {"timezone": "UTC", "days_of_the_week": [1, 2], "start_hour": "09:00", "end_hour": "17:00"}
    await sl.call("POST", f"{one}/schedule", {**hours, "min_time_btw_emails": 10, "max_new_leads_per_day": 20})
    await sl.call("POST", one, hours, status=404)  # where it writes schedules to; the provider has no such route
    settings = {"track_settings": ["DONT_TRACK_EMAIL_OPEN"], "stop_lead_settings": "REPLY_TO_AN_EMAIL"}
    await sl.call("POST", f"{one}/settings", {**settings, "follow_up_percentage": 50, "send_as_plain_text": False})
    await sl.call("POST", f"{one}/settings", {"force_plain_text": True, "auto_pause_domain_leads_on_reply": True})
    refused = await sl.call("POST", f"{one}/settings", {"name": "Winter"}, status=400)
    assert refused["message"] == '"name" is not allowed'
    leads = {"lead_list": [{"email": "ines@north.example.com", "custom_fields": {"a": "b"}}], "settings": {}}
    assert (await sl.call("POST", f"{one}/leads", leads))["upload_count"] == 1
    (row,) = (await sl.call("GET", f"{one}/leads", offset=0, limit=100))["data"]
    lead = f"{one}/leads/{row['lead']['id']}"
    await sl.call("POST", lead, {"email": "ines@north.example.com", "first_name": "Inez"})
    await sl.call("POST", f"{lead}/pause")  # without a body
    await sl.call("POST", f"{lead}/resume", {"resume_lead_with_delay_days": None})
    assert (await sl.call("GET", f"{lead}/message-history"))["history"] == []
    await sl.call("POST", f"{lead}/unsubscribe")
    assert await sl.call("DELETE", lead) == "success"
    assert (await sl.call("GET", "/leads/", email="ines@north.example.com"))["first_name"] == "Inez"
    hook = {"id": None, "name": "x", "webhook_url": "https://hooks.example.com/a", "event_types": ["EMAIL_REPLY"]}
    saved = await sl.call("POST", f"{one}/webhooks", {**hook, "categories": ["Interested"]})
    await sl.call("DELETE", f"{one}/webhooks", {"id": saved["id"]})
    assert await sl.call("GET", f"{one}/webhooks") == []
    assert (await sl.call("DELETE", one))["ok"] is True
    assert await sl.call("GET", one) == {}


async def test_a_typed_client_for_heyreach(http: httpx.AsyncClient) -> None:
    """The key's header in small letters, every optional member sent as null, lists filled and emptied."""
    hr = Client(http, "heyreach", **{"x-api-key": KINDS["heyreach"].key, "accept": "text/plain"})
    assert await hr.call("GET", "/auth/CheckApiKey") == ""
    filters: dict[str, Any] = {"offset": 0, "limit": 100, "keyword": None, "statuses": [], "accountIds": []}
    campaigns = (await hr.call("POST", "/campaign/GetAll", filters))["items"]
    assert len(campaigns) == 3
    sender = campaigns[0]["campaignAccountIds"][0]
    mine = [one["id"] for one in campaigns if sender in one["campaignAccountIds"]]
    found = await hr.call("POST", "/campaign/GetAll", {**filters, "accountIds": [sender], "statuses": None})
    assert [one["id"] for one in found["items"]] == mine
    named = await hr.call("POST", "/campaign/GetAll", {**filters, "keyword": campaigns[0]["name"].upper()})
    assert [one["id"] for one in named["items"]] == [campaigns[0]["id"]]
    one = await hr.call("GET", "/campaign/GetById", campaignId=campaigns[0]["id"])
    assert one["status"] == "IN_PROGRESS"
    assert await hr.call("POST", "/campaign/Pause", campaignId=one["id"]) == ""
    await hr.call("POST", "/campaign/Pause", {"campaignId": one["id"]}, status=400)  # the id belongs in the query
    assert await hr.call("POST", "/campaign/Resume", campaignId=one["id"]) == ""
    person = {"firstName": "Ada", "lastName": "Example", "profileUrl": "https://www.linkedin.com/in/ada-example-0001"}
    lead: dict[str, Any] = {**person, "location": None, "summary": None, "companyName": None, "position": None, "about": None,
            "emailAddress": None, "customUserFields": []}  # fmt: skip
    pairs = {"campaignId": one["id"], "accountLeadPairs": [{"linkedInAccountId": None, "lead": lead}]}
    assert await hr.call("POST", "/campaign/AddLeadsToCampaign", pairs) == 1
    again = await hr.call("POST", "/campaign/AddLeadsToCampaignV2", pairs)
    assert again == {"addedLeadsCount": 0, "updatedLeadsCount": 1, "failedLeadsCount": 0}
    listed = await hr.call("POST", "/list/CreateEmptyList", {"name": "Ops leaders", "type": "USER_LIST"})
    own = listed["id"]
    assert listed["count"] == 0
    added = await hr.call("POST", "/list/AddLeadsToListV2", {"listId": own, "leads": [lead]})
    assert added["addedLeadsCount"] == 1
    assert (await hr.call("GET", "/list/GetById", listId=own))["totalItemsCount"] == 1
    (row,) = (
        await hr.call("POST", "/list/GetLeadsFromList", {"listId": own, "offset": 0, "limit": 1000, "keyword": None})
    )["items"]
    gone = {"listId": own, "leadMemberIds": [row["linkedin_id"]]}
    assert await hr.call("DELETE", "/list/DeleteLeadsFromList", gone) == ""  # a DELETE with a body
    left = {"listId": own, "profileUrls": [person["profileUrl"]]}
    assert await hr.call("DELETE", "/list/DeleteLeadsFromListByProfileUrl", left) == {
        "notFoundInList": ["ada-example-0001"]
    }
    wanted: dict[str, Any] = {"linkedInAccountIds": [], "campaignIds": [], "searchString": None, "leadLinkedInId": None,
              "leadProfileUrl": None, "seen": None}  # fmt: skip
    inbox = await hr.call("POST", "/inbox/GetConversationsV2", {"filters": wanted, "offset": 0, "limit": 100})
    (first, *_) = inbox["items"]
    answer = {
        "message": "Hi",
        "subject": None,
        "conversationId": first["id"],
        "linkedInAccountId": first["linkedInAccountId"],
    }
    assert await hr.call("POST", "/inbox/SendMessage", answer) == ""
    hook = {"webhookName": "Ops", "webhookUrl": "https://hooks.example.com/a", "eventType": "MESSAGE_SENT",
            "campaignIds": [], "isActive": True}  # fmt: skip
    number = (await hr.call("POST", "/webhooks/CreateWebhook", hook))["webhookId"]
    assert (await hr.call("GET", "/webhooks/GetWebhookById", webhookId=number))["eventType"] == "MESSAGE_SENT"
    await hr.call("PATCH", "/webhooks/UpdateWebhook", {"webhookName": "Ops 2"}, webhookId=number)
    assert await hr.call("DELETE", "/webhooks/DeleteWebhook", webhookId=number) == ""
    await hr.call("DELETE", "/webhooks/DeleteWebhook", webhookId=number, status=404)


async def test_scripts_for_emailbison(http: httpx.AsyncClient) -> None:
    """Filters in brackets, `per_page` that is not obeyed, leads one by one and in numbers, a lead by its address."""
    eb = Client(http, "emailbison", authorization=f"Bearer {KINDS['emailbison'].key}", accept="application/json")
    assert (await eb.call("GET", "/users"))["data"]["team"]["id"]
    rows = (await eb.call("GET", "/leads", page=1, per_page=200))["data"]
    assert len(rows) == 15
    wanted = rows[3]["email"]
    for query in ({"filters[search]": wanted}, {"search": wanted.upper()}):
        assert [one["email"] for one in (await eb.call("GET", "/leads", query=query))["data"]] == [wanted]
    assert len((await eb.call("GET", "/leads", query={"filters.search": wanted}))["data"]) == 15  # nobody reads a dot
    lead = {"first_name": "Dana", "last_name": "Ruiz", "email": "dana@acme.example.com", "company": "Acme"}
    dana = (await eb.call("POST", "/leads", lead, status=201))["data"]["id"]
    taken = await eb.call("POST", "/leads", lead, status=422)
    assert taken["message"] == "The email has already been taken."
    both = {"leads": [{**lead, "email": f"{name}@acme.example.com"} for name in ("leo", "ana")]}
    assert len((await eb.call("POST", "/leads/multiple", both, status=201))["data"]) == 2
    assert (await eb.call("PATCH", f"/leads/{dana}", {"title": "COO"}))["data"]["company"] == "Acme"
    put = await eb.call("PUT", "/leads/dana@acme.example.com", {"first_name": "Dana", "last_name": "Ruiz"})
    assert (put["data"]["company"], put["data"]["title"]) == ("", "")
    assert (await eb.call("DELETE", f"/leads/{dana}"))["data"]["success"] is True
    (campaign, *_) = (await eb.call("GET", "/campaigns"))["data"]
    one = f"/campaigns/{campaign['id']}"
    assert len((await eb.call("GET", "/campaigns", search=campaign["name"].lower()))["data"]) == 1
    assert (await eb.call("PATCH", f"{one}/pause"))["data"]["status"] == "paused"
    assert (await eb.call("PATCH", f"{one}/resume"))["data"]["status"] == "queued"
    assert isinstance((await eb.call("GET", f"{one}/sequence-steps"))["data"], list)
    assert (await eb.call("GET", f"{one}/sender-emails"))["data"]
    replies = (await eb.call("GET", "/replies", query={"filters[folder]": "all"}))["data"]
    inbox = (await eb.call("GET", "/replies", query={"filters[folder]": "inbox", "filters[read]": "false"}))["data"]
    assert {one["folder"] for one in replies} > {"Inbox"} == {one["folder"] for one in inbox}
    (reply, *_) = [one for one in inbox if one["lead_id"]]
    automated = await eb.call("GET", "/replies", status=200, query={"status": "not_automated_reply"})
    assert not any(one["automated_reply"] for one in automated["data"])
    of_lead = await eb.call("GET", f"/leads/{reply['lead_id']}/replies", query={"filters[folder]": "inbox"})
    assert reply["id"] in [one["id"] for one in of_lead["data"]]
    assert (await eb.call("GET", f"/leads/{reply['lead_id']}/sent-emails"))["data"]
    to = [{"name": None, "email_address": reply["from_email_address"]}]
    answer = {"message": "Gladly", "sender_email_id": reply["sender_email_id"], "to_emails": to, "cc_emails": [],
              "bcc_emails": [], "inject_previous_email_body": True, "content_type": "text"}  # fmt: skip
    sent = (await eb.call("POST", f"/replies/{reply['id']}/reply", answer))["data"]["reply"]
    assert sent["folder"] == "Sent"
    await eb.call("POST", f"{one}/leads", {"email": "dana@acme.example.com"}, status=405)  # no such call
    await eb.call("GET", "/master-inbox", status=404)
