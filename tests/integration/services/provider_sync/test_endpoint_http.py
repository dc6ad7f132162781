"""Webhook endpoints over HTTP: what is shown, what may be changed, what is secret, what is foreign."""

from __future__ import annotations

import pytest

from libs.contracts.events import ActionPerformedV1, WebhookEndpointChangedV1
from libs.ids import new_id, public_id
from libs.tenancy.context import CompanyScope
from tests.integration.services.provider_sync.stage import payload, processor, set_stage, told
from tests.integration.services.provider_sync.test_http import Face, new_account

SECRET = "a-signing-secret-of-ours"


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


def path(stage, *more) -> str:
    return "/".join(("/webhook-endpoints", public_id("whe", stage.endpoint_id), *more))


async def change(face, stage, *, status=200, **changes):
    revision = (await face.get(path(stage), stage.org_id))["revision"]
    answer = await face("PATCH", path(stage), stage.org_id, json={"revision": revision} | changes)
    assert answer.status_code == status, answer.text
    return answer.json()


async def deliver(database, stage, *bodies, **more):
    envelopes = [stage.webhook(body, **more) for body in bodies]
    await processor(database("provider_sync"), "provider-sync.webhooks").deliver(envelopes)


async def changes_of(database, stage):
    events = await told(database("provider_sync"), stage.org_id)
    return [event for event in events if isinstance(event, WebhookEndpointChangedV1)]


async def test_the_list_and_the_detail_are_one_orgs(face, stage, other, units):
    await set_stage(units("provider_sync"), stage.org_id, provider="heyreach")

    first = await face.get("/webhook-endpoints?limit=1", stage.org_id)
    second = await face.get(f"/webhook-endpoints?limit=1&after={first['next_cursor']}", stage.org_id)
    detail = await face.get(path(stage), stage.org_id)

    assert (first["has_more"], second["has_more"]) == (True, False)
    shown = second["data"][0]
    assert shown["id"] == public_id("whe", stage.endpoint_id)
    assert shown.items() <= detail.items()
    assert (detail["status"], detail["revision"], detail["signature_mode"]) == ("registered", 1, "off")
    assert detail["account_id"] == public_id("acc", stage.account.id)
    (token,) = detail["tokens"]
    assert (token["id"], token["state"], token["last4"]) == (public_id("wht", stage.endpoint_id), "newest", "last")
    assert len((await face.get("/webhook-endpoints", other.org_id))["data"]) == 1


async def test_a_company_sees_the_endpoints_of_its_accounts_and_changes_none(face, stage, other):
    own = CompanyScope.of([stage.account.company_id])
    sibling = CompanyScope.of([stage.account.clients["111"]])

    assert len((await face.get("/webhook-endpoints", stage.org_id, scope=own))["data"]) == 1
    assert (await face.get("/webhook-endpoints", stage.org_id, scope=sibling))["data"] == []
    hidden = [
        await face(method, where, org_id, scope=scope, json=body)
        for method, suffix, body in (
            ("GET", (), None),
            ("PATCH", (), {"revision": 1}),
            ("POST", ("rotations",), {}),
            ("POST", ("releases",), None),
        )
        for org_id, scope, where in (
            (stage.org_id, sibling, path(stage, *suffix)),
            (other.org_id, own, path(stage, *suffix)),
            (stage.org_id, own, "/".join(("/webhook-endpoints", f"whe_{new_id().hex}", *suffix))),
        )
    ]
    told = {(answer.status_code, answer.json()["code"], answer.json()["detail"]) for answer in hidden}
    assert told == {(404, "not_found", "there is no whe_ object with this id")}
    assert (await face.get(path(stage), stage.org_id))["revision"] == 1


async def test_a_rotation_shows_its_tokens(face, stage, other, database):
    account = await face("POST", "/provider-accounts", stage.org_id, json=new_account(stage.account.company_id))
    where = f"/webhook-endpoints/{account.json()['webhook_endpoint']['id']}"
    (first,) = (await face.get(where, stage.org_id))["tokens"]

    revoked = await face("POST", f"{where}/rotations", stage.org_id, json={"overlap_seconds": 0})
    under_way = await face("POST", f"{where}/rotations", stage.org_id, json={})
    for seconds in (-1, 31 * 86_400, "7"):
        refused = await face("POST", f"{where}/rotations", stage.org_id, json={"overlap_seconds": seconds})
        assert refused.status_code == 422

    assert revoked.status_code == 202
    newest, ended = revoked.json()["tokens"]
    assert (newest["state"], ended["state"]) == ("newest", "ended")
    assert ended["id"] == first["id"] != newest["id"]
    assert ended["last4"] == first["last4"]
    assert ended["refused_from"] > ended["ends_at"] >= ended["replaced_at"]
    assert revoked.json()["revision"] == 2
    assert (await face.get(where, stage.org_id)) == revoked.json()
    assert (under_way.status_code, under_way.json()["code"]) == (409, "rotation_under_way")
    events = await told(database("provider_sync"), stage.org_id)
    acts = [event for event in events if isinstance(event, ActionPerformedV1)]
    assert [act.action for act in acts] == ["account.opened", "webhook_endpoint.rotated"]
    assert await changes_of(database, other) == []


async def test_a_change_wants_the_revision_that_was_read(face, stage, other, database):
    first = await change(face, stage, allowed_sources=["192.0.2.7", "2001:db8::/32"])
    stale = await face("PATCH", path(stage), stage.org_id, json={"revision": 1, "source_mode": "enforce"})
    nothing = await face("PATCH", path(stage), stage.org_id, json={"source_mode": "enforce"})

    assert (first["revision"], first["allowed_sources"]) == (2, ["192.0.2.7/32", "2001:db8::/32"])
    assert (stale.status_code, stale.json()["code"]) == (409, "revision_conflict")
    assert "at revision 2 now" in stale.json()["detail"]
    assert nothing.status_code == 422
    (told_once,) = await changes_of(database, stage)
    assert (told_once.revision, told_once.allowed_sources, told_once.source_mode) == (
        2, ("192.0.2.7/32", "2001:db8::/32"), "observe",
    )  # fmt: skip
    assert await changes_of(database, other) == []


async def test_what_is_not_named_stays(face, stage, database):
    await change(face, stage, allowed_sources=["192.0.2.0/24"])
    await change(face, stage, source_mode="enforce")
    await change(face, stage, add_signing_secret=SECRET)
    last = await change(face, stage)

    assert (last["allowed_sources"], last["source_mode"]) == (["192.0.2.0/24"], "enforce")
    assert len(last["signing_secrets"]) == 1
    assert [one.source_mode for one in await changes_of(database, stage)] == ["observe", *["enforce"] * 3]
    emptied = await change(face, stage, allowed_sources=[], source_mode="observe")
    assert emptied["allowed_sources"] == []


async def test_secrets_go_in_and_never_come_out(face, stage, other, database, units):
    shown = await change(face, stage, add_signing_secret=SECRET)
    listed = await face.get("/webhook-endpoints", stage.org_id)

    (secret,) = shown["signing_secrets"]
    assert secret.keys() == {"id", "created_at"}
    events = await told(database("provider_sync"), stage.org_id)
    async with database("provider_sync").tenant_transaction(stage.org_id) as session:
        (row,) = await session.fetch("SELECT s::text AS text, secret FROM signing_secrets s")
    for text in (str(shown), str(listed), row["text"], *(str(event.envelope.raw) for event in events)):
        assert SECRET not in text
    assert SECRET.encode() not in row["secret"]
    (performed,) = [event for event in events if isinstance(event, ActionPerformedV1)]
    assert (performed.action, performed.object) == ("webhook_endpoint.changed", public_id("whe", stage.endpoint_id))
    assert performed.details["fields"] == ["add_signing_secret"]
    beside = await set_stage(units("provider_sync"), stage.org_id)
    for stranger in (other, beside):
        refused = await change(face, stranger, remove_signing_secrets=[secret["id"]], status=422)
        assert "no such signing secret" in refused["detail"]
    gone = await change(face, stage, remove_signing_secrets=[secret["id"]])
    assert gone["signing_secrets"] == []


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"signature_mode": "observe"}, "/signature_mode"),
        ({"signature_mode": "require"}, "/signature_mode"),
        ({"source_mode": "enforce"}, "/source_mode"),
        ({"allowed_sources": ["192.0.2.7", "192.0.2.7/24"]}, "/allowed_sources/1"),
        ({"allowed_sources": ["192.0.2.7"] * 51}, "/allowed_sources"),
        ({"add_signing_secret": "too short"}, "/add_signing_secret"),
        ({"add_signing_secret": "line\nbreak of a secret"}, "/add_signing_secret"),
        ({"remove_signing_secrets": ["whs_" + "7" * 32]}, "/remove_signing_secrets"),
        ({"signature_mode": "sometimes"}, "/signature_mode"),
        ({"provider": "heyreach"}, "/provider"),
    ],
)
async def test_what_may_not_be(face, stage, database, changes, pointer):
    refused = await change(face, stage, status=422, **changes)

    assert refused["errors"][0]["pointer"].removeprefix("/body") == pointer
    assert "too short" not in str(refused)
    assert await changes_of(database, stage) == []


async def test_secrets_are_few(face, stage):
    for number in range(4):
        await change(face, stage, add_signing_secret=f"{SECRET} {number}")
    shown = await change(face, stage, add_signing_secret=f"{SECRET} 4")
    await change(face, stage, add_signing_secret=SECRET, status=422)

    oldest = shown["signing_secrets"][-1]["id"]
    replaced = await change(face, stage, add_signing_secret=SECRET, remove_signing_secrets=[oldest])
    assert len(replaced["signing_secrets"]) == 5


@pytest.mark.parametrize("provider", ["heyreach", "emailbison"])
async def test_who_signs_nothing_cannot_be_asked_for_it(face, units, make_org, provider):
    stage = await set_stage(units("provider_sync"), make_org(), provider=provider)
    assert (await face.get(path(stage), stage.org_id))["can_be_signed"] is False

    for changes in ({"signature_mode": "observe"}, {"signature_mode": "require"}, {"add_signing_secret": SECRET}):
        refused = await change(face, stage, status=422, **changes)
        assert refused["code"] == "capability_unsupported"
        assert refused["detail"].startswith(f"{provider} signs nothing")
    assert (await change(face, stage, allowed_sources=["192.0.2.7"]))["allowed_sources"]


async def test_a_proof_is_required_only_when_one_was_seen(face, stage, other, database):
    """The counts suggest the step; a change of secrets begins them anew."""
    await change(face, stage, add_signing_secret=SECRET)
    assert (await face.get(path(stage), stage.org_id))["suggestions"][0]["value"] == "observe"
    await change(face, stage, signature_mode="observe")
    refused = await change(face, stage, signature_mode="require", status=409)
    assert refused["code"] == "not_observed"

    body = payload("email_sent", secret_key=SECRET)
    await deliver(database, stage, *[body] * 100)
    await deliver(database, other, body)
    observed = await face.get(path(stage), stage.org_id)
    assert observed["counts"]["verified"] == 100
    assert [(one["field"], one["value"]) for one in observed["suggestions"]] == [("signature_mode", "require")]
    assert "100" in observed["suggestions"][0]["because"]
    also_new = await change(face, stage, signature_mode="require", add_signing_secret=f"{SECRET} 2", status=409)
    assert also_new["code"] == "not_observed"

    required = await change(face, stage, signature_mode="require")
    assert (required["signature_mode"], required["counts"]["verified"]) == ("require", 0)
    assert (await change(face, stage, add_signing_secret=f"{SECRET} 2"))["signature_mode"] == "require"
    assert [one.mode for one in await changes_of(database, stage)] == ["off", "observe", "require", "require"]


async def test_the_last_secret_stays_while_it_is_used(face, stage):
    shown = await change(face, stage, add_signing_secret=SECRET, signature_mode="observe")
    secret = shown["signing_secrets"][0]["id"]

    await change(face, stage, remove_signing_secrets=[secret], status=422)
    off = await change(face, stage, remove_signing_secrets=[secret], signature_mode="off")

    assert (off["signature_mode"], off["signing_secrets"]) == ("off", [])


async def test_sources_are_counted(face, stage, other, database):
    await change(face, stage, allowed_sources=["192.0.2.0/24"])
    await deliver(database, stage, payload("email_sent"), source_listed=True)
    await deliver(database, stage, payload("email_open"), payload("email_reply"), source_listed=False)
    await deliver(database, other, payload("email_sent"))

    counts = (await face.get(path(stage), stage.org_id))["counts"]
    assert (counts["listed"], counts["unlisted"]) == (1, 2)
    assert set(list((await face.get(path(other), other.org_id))["counts"].values())[1:]) == {0}
    assert (await change(face, stage, source_mode="enforce"))["counts"]["unlisted"] == 0
