"""The inner HTTP face: lists, details, what is foreign, what is secret."""

from __future__ import annotations

import httpx
import pytest
from pydantic import SecretStr

from libs.contracts.events import ActionPerformedV1, ProviderAccountChangedV1, WebhookEndpointChangedV1
from libs.ids import CompanyId, new_id, public_id
from libs.runtime.service import Platform
from libs.tenancy.context import ALL_COMPANIES, CompanyScope, TenantContext
from libs.tenancy.signing import HEADER, ContextSigner, ContextVerifier, new_private_key, public_key_of
from services.provider_sync.app import build
from services.provider_sync.settings import ProviderSyncSettings
from tests.integration.services.provider_sync.stage import forget_org_filters, payload, processor, set_stage, told

PERMISSIONS = frozenset({"accounts:read", "accounts:write", "campaigns:read", "leads:read", "inbox:read"})
LISTS = ("/provider-accounts", "/email/campaigns", "/leads", "/inbox/conversations")
SETTINGS = ProviderSyncSettings(
    credential_key=SecretStr("5a" * 32), cursor_key=SecretStr("cursors"), allow_loopback=True
)


class Face:
    """The service's app, asked as the gateway would for some org."""

    def __init__(self, database, units) -> None:
        private = new_private_key()
        self._signer = ContextSigner(private)
        verifier = ContextVerifier([public_key_of(private)], "provider-sync")
        self.service = build(Platform(database, units, verifier), SETTINGS)
        transport = httpx.ASGITransport(app=self.service.app)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://provider-sync")

    async def __call__(
        self, method, path, org_id, *, scope=ALL_COMPANIES, permissions=PERMISSIONS, json=None, headers=None
    ):
        context = TenantContext("key:1", org_id, scope, permissions)
        headers = {HEADER: self._signer.sign(context, "provider-sync"), **(headers or {})}
        return await self._client.request(method, path, headers=headers, json=json)

    async def get(self, path, org_id, **more):
        answer = await self("GET", path, org_id, **more)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def close(self) -> None:
        await self._client.aclose()
        assert self.service.closing is not None
        await self.service.closing()


@pytest.fixture
async def face(database, units):
    face = Face(database("provider_sync"), units("provider_sync"))
    yield face
    await face.close()


@pytest.fixture
async def stage(units, make_org):
    return await set_stage(units("provider_sync"), make_org())


@pytest.fixture
async def other(units, make_org):
    return await set_stage(units("provider_sync"), make_org())


@pytest.fixture
def deliver(database):
    consumer = processor(database("provider_sync"), "provider-sync.webhooks")

    async def deliver(stage, *bodies):
        await consumer.deliver([stage.webhook(body) for body in bodies])

    return deliver


def new_account(company: CompanyId, **more):
    fields = {"provider": "smartlead", "name": "Main", "company_id": public_id("cmp", company)}
    return fields | {"credentials": {"api_key": "very-secret-key"}} | more


async def test_opening_an_account(face, database, stage, other):
    body = new_account(
        stage.account.company_id,
        base_url="http://127.0.0.1:1234/api/v1",
        client_companies={"111": public_id("cmp", stage.account.clients["111"])},
    )

    answer = await face("POST", "/provider-accounts", stage.org_id, json=body)

    assert answer.status_code == 201, answer.text
    shown = answer.json()
    endpoint_id = shown["webhook_endpoint"].pop("id")
    assert shown["webhook_endpoint"] == {"status": "pending", "error": None, "last_webhook_at": None}
    shown["webhook_endpoint"]["id"] = endpoint_id
    assert shown["client_companies"] == body["client_companies"]
    assert (await face.get(f"/provider-accounts/{shown['id']}", stage.org_id)) == shown
    account, endpoint, performed = await told(database("provider_sync"), stage.org_id)
    assert isinstance(account, ProviderAccountChangedV1)
    assert isinstance(endpoint, WebhookEndpointChangedV1)
    assert public_id("acc", account.account_id) == shown["id"]
    assert public_id("whe", endpoint.endpoint_id) == endpoint_id
    assert account.envelope.company_id == stage.account.company_id
    assert isinstance(performed, ActionPerformedV1)
    assert (performed.actor, performed.action, performed.object) == ("key:1", "account.opened", shown["id"])
    assert performed.request_id == answer.headers["x-request-id"]
    async with database("provider_sync").tenant_transaction(stage.org_id) as session:
        rows = await session.fetch("SELECT a::text || e::text AS text FROM accounts a, endpoints e")
    told_bytes = [str(event.envelope.raw) for event in (account, endpoint, performed)]
    for text in (answer.text, *(row["text"] for row in rows), *told_bytes):
        assert "very-secret-key" not in text
    assert endpoint.token_sha256 not in answer.text
    assert b"very-secret-key".hex() not in str(rows)


@pytest.mark.parametrize(
    ("provider", "base_url"),
    [
        ("emailbison", "https://send.elsewhere.example.com"),
        ("emailbison", "https://send.elsewhere.example.com:8443/panel"),
        ("smartlead", "https://server.smartlead.ai/api/v1"),
    ],
)
async def test_any_public_instance_may_be_named_and_no_other_host_of_a_provider_with_one(
    face, stage, provider, base_url
):
    answer = await face(
        "POST", "/provider-accounts", stage.org_id,
        json=new_account(stage.account.company_id, provider=provider, base_url=base_url),
    )  # fmt: skip

    assert answer.status_code == 201, answer.text
    assert answer.json()["base_url"] == base_url


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"provider": "carrier-pigeon"}, "/provider"),
        ({"company_id": "cmp_" + "0" * 32}, "/company_id"),
        ({"company_id": "nonsense"}, "/company_id"),
        ({"client_companies": {"9": "cmp_" + "1" * 32}}, "/client_companies/9"),
        ({"credentials": {}}, "/credentials"),
        ({"credentials": {"api_key": "k", "more": "m"}}, "/credentials"),
        ({"credentials": {"api_key": ""}}, "/credentials/api_key"),
        ({"credentials": {"api_key": "a\nb"}}, "/credentials/api_key"),
        ({"base_url": "http://169.254.169.254/latest"}, "/base_url"),
        ({"base_url": "http://127.0.0.1@elsewhere.example.com/"}, "/base_url"),
        ({"base_url": "file:///etc/passwd"}, "/base_url"),
        ({"base_url": "http://[broken"}, "/base_url"),
        ({"provider": "emailbison"}, "/base_url"),
        ({"provider": "emailbison", "base_url": "http://send.elsewhere.example.com"}, "/base_url"),
        ({"provider": "emailbison", "base_url": "https://10.0.0.7"}, "/base_url"),
        ({"provider": "smartlead", "base_url": "https://send.elsewhere.example.com"}, "/base_url"),
        ({"provider": "heyreach", "client_companies": {"9": "cmp_" + "1" * 32}}, "/client_companies"),
        ({"provider": "emailbison", "client_companies": {"9": "cmp_" + "1" * 32}}, "/client_companies"),
        ({"surprise": 1}, "/body/surprise"),
        ({"name": "a\x00b"}, "/body/name"),
        ({"name": "  "}, "/body/name"),
    ],
)
async def test_what_is_wrong_is_named(face, stage, change, pointer):
    answer = await face("POST", "/provider-accounts", stage.org_id, json=new_account(stage.account.company_id) | change)

    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert "very-secret-key" not in answer.text


@pytest.mark.parametrize(
    ("provider", "channel", "base_url"),
    [("heyreach", "linkedin", None), ("emailbison", "email", "http://127.0.0.1:9/instance")],
)
async def test_opening_an_account_of_another_provider(face, stage, provider, channel, base_url):
    body = new_account(stage.account.company_id, provider=provider, base_url=base_url)

    answer = await face("POST", "/provider-accounts", stage.org_id, json=body)

    assert answer.status_code == 201, answer.text
    shown = answer.json()
    assert (shown["provider"], shown["channel"], shown["base_url"]) == (provider, channel, base_url)
    assert (shown["workspace_external_id"], shown["client_companies"]) == (None, {})


async def test_what_an_account_must_say_is_told_in_words(face, stage):
    async def refusal(**change):
        body = new_account(stage.account.company_id) | change
        return (await face("POST", "/provider-accounts", stage.org_id, json=body)).json()["detail"]

    assert "base_url is needed: emailbison has no address of its own" in await refusal(provider="emailbison")
    assert "each is one company's" in await refusal(provider="heyreach", client_companies={"9": "cmp_" + "1" * 32})


async def test_another_orgs_company_is_none(face, stage, other):
    answer = await face("POST", "/provider-accounts", stage.org_id, json=new_account(other.account.company_id))

    assert answer.status_code == 422
    assert public_id("cmp", other.account.company_id) in answer.json()["detail"]


@pytest.mark.parametrize("path", LISTS)
async def test_a_route_wants_its_permission_and_a_signature(face, stage, path):
    assert (await face("GET", path, stage.org_id, permissions=frozenset())).status_code == 403
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=face.service.app), base_url="http://provider-sync"
    ) as bare:
        assert (await bare.get(path)).status_code == 401


async def test_lists_and_details_of_one_story(face, stage, other, deliver):
    await deliver(stage, payload("email_sent"), payload("email_reply"), payload("lead_category_updated"))
    await deliver(other, payload("email_open", campaign_name="Other"))

    campaigns = await face.get("/email/campaigns", stage.org_id)
    (campaign,) = campaigns["data"]
    assert campaigns["last_webhook_at"] is not None
    assert (campaign["name"], campaign["status"], campaign["channel"]) == ("Harbour pilot", "active", "email")
    detail = await face.get(f"/email/campaigns/{campaign['id']}", stage.org_id)
    assert {name: detail[name] for name in campaign} == campaign
    assert (await face.get("/linkedin/campaigns", stage.org_id))["data"] == []
    assert (await face("GET", f"/linkedin/campaigns/{campaign['id']}", stage.org_id)).status_code == 404

    (lead,) = (await face.get(f"/leads?campaign_id={campaign['id']}&email=INES@northpier.example.com", stage.org_id))[
        "data"
    ]
    assert (lead["first_name"], lead["company_name"]) == ("Ines", "North Pier")
    assert (await face.get("/leads?email=nobody@x.example.com", stage.org_id))["data"] == []
    assert (await face.get(f"/leads/{lead['id']}", stage.org_id))["email"] == "ines@northpier.example.com"

    (conversation,) = (await face.get(f"/inbox/conversations?campaign_id={campaign['id']}", stage.org_id))["data"]
    assert (conversation["lead_email"], conversation["category"]) == ("ines@northpier.example.com", "Interested")
    assert conversation["last_direction"] == "inbound"
    messages = (await face.get(f"/inbox/conversations/{conversation['id']}/messages", stage.org_id))["data"]
    times = [message["occurred_at"] for message in messages]
    assert times == sorted(times)
    reply = next(message for message in messages if message["direction"] == "inbound")
    assert (reply["sequence_step_number"], reply["step_source"]) == (1, "webhook")
    assert "Tell me more" in reply["body_text"]


async def test_foreign_unknown_and_malformed_ids_get_the_same_answer(face, stage, other, deliver):
    await deliver(other, payload("email_reply"))
    foreign = {
        "/provider-accounts": (await face.get("/provider-accounts", other.org_id))["data"][0]["id"],
        "/email/campaigns": (await face.get("/email/campaigns", other.org_id))["data"][0]["id"],
        "/leads": (await face.get("/leads", other.org_id))["data"][0]["id"],
        "/inbox/conversations": (await face.get("/inbox/conversations", other.org_id))["data"][0]["id"],
    }
    for path, identifier in foreign.items():
        prefix = identifier.split("_")[0]
        answers = [
            await face("GET", f"{path}/{one}", stage.org_id)
            for one in (identifier, f"{prefix}_{new_id().hex}", f"{prefix}_nonsense", "x")
        ]
        assert {answer.status_code for answer in answers} == {404}
        told_ = [{name: value for name, value in answer.json().items() if name != "request_id"} for answer in answers]
        assert told_[0] == told_[1] == told_[2]
    conversation = foreign["/inbox/conversations"]
    assert (await face("GET", f"/inbox/conversations/{conversation}/messages", stage.org_id)).status_code == 404


async def test_pages_hold_everything_once(face, stage, other, deliver):
    bodies = [
        payload("email_sent", campaign_id=number, to_email=f"lead{number}@x.example.com",
                event_timestamp=f"2026-07-11T12:{number:02}:00.000Z")
        for number in range(1, 8)
    ]  # fmt: skip
    await deliver(stage, *bodies)
    await deliver(other, *bodies)
    for path in LISTS[1:]:
        whole = [row["id"] for row in (await face.get(path, stage.org_id))["data"]]
        assert len(whole) == len(set(whole)) == 7
        seen, after = [], ""
        while True:
            page = await face.get(f"{path}?limit=3{after}", stage.org_id)
            seen += [row["id"] for row in page["data"]]
            if not page["has_more"]:
                assert page["next_cursor"] is None
                break
            after = f"&after={page['next_cursor']}"
        assert seen == whole
        stolen = await face("GET", f"{path}?limit=3{after}", other.org_id)
        assert (stolen.status_code, stolen.json()["code"]) == (422, "invalid_cursor")
    newest = (await face.get("/inbox/conversations", stage.org_id))["data"]
    times = [row["last_activity_at"] for row in newest]
    assert times == sorted(times, reverse=True)


async def test_a_company_sees_its_own_campaigns_and_the_people_in_them(face, stage, other, deliver):
    await deliver(
        stage,
        payload("email_sent", campaign_id=1, client_id=111),
        payload("email_sent", campaign_id=2, client_id=222, to_email="other@x.example.com"),
    )
    first = CompanyScope.of([stage.account.clients["111"]])

    campaigns = (await face.get("/email/campaigns", stage.org_id, scope=first))["data"]
    leads = (await face.get("/leads", stage.org_id, scope=first))["data"]
    conversations = (await face.get("/inbox/conversations", stage.org_id, scope=first))["data"]

    assert [row["external_id"] for row in campaigns] == ["1"]
    assert [row["email"] for row in leads] == ["ines@northpier.example.com"]
    assert {row["company_id"] for row in conversations} == {public_id("cmp", stage.account.clients["111"])}
    (hidden,) = [row["id"] for row in (await face.get("/leads", stage.org_id))["data"] if row not in leads]
    assert (await face("GET", f"/leads/{hidden}", stage.org_id, scope=first)).status_code == 404
    nobody = CompanyScope.of([])
    for path in LISTS:
        assert (await face.get(path, stage.org_id, scope=nobody))["data"] == []
    assert (await face.get("/email/campaigns", stage.org_id, scope=nobody))["last_webhook_at"] is None


async def test_without_org_filters_the_database_still_keeps_orgs_apart(face, stage, other, deliver, monkeypatch):
    await deliver(stage, payload("email_reply"))
    await deliver(other, payload("email_reply", campaign_name="Other"))
    paths = [*LISTS]
    for path in LISTS:
        (row,) = (await face.get(path, stage.org_id))["data"]
        paths.append(f"{path}/{row['id']}")
    paths.append(f"{paths[-1]}/messages")
    expected = [(await face("GET", path, stage.org_id)).json() for path in paths]
    foreign = [(await face("GET", path, other.org_id)).status_code for path in paths]

    forgotten = forget_org_filters(monkeypatch)

    assert [timeless((await face("GET", path, stage.org_id)).json()) for path in paths] == [*map(timeless, expected)]
    assert [(await face("GET", path, other.org_id)).status_code for path in paths] == foreign
    assert foreign == [200] * 4 + [404] * 5
    assert len(forgotten) >= 2 * len(paths)


def timeless(answer):
    return {name: value for name, value in answer.items() if name != "as_of"}


async def test_health(face):
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=face.service.app), base_url="http://provider-sync"
    ) as bare:
        assert (await bare.get("/health/ready")).status_code == 200


@pytest.mark.parametrize("query", ["after=nonsense", "limit=0", "limit=101", "limit=x", "email=%00"])
async def test_absurd_queries_are_422(face, stage, query):
    assert (await face("GET", f"/leads?{query}", stage.org_id)).status_code == 422
