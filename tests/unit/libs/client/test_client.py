from __future__ import annotations

import httpx
import pytest

from libs.client.client import ApiProblem, OperationFailed, OutriderClient


class Api:
    """Answers what it was given, in turn, and remembers what it was asked."""

    def __init__(self, *answers: httpx.Response) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.http = httpx.AsyncClient(transport=httpx.MockTransport(self._answer))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self.answers.pop(0)

    def client(self, org: str | None = None) -> OutriderClient:
        return OutriderClient("http://api.example.com/", "otr_live_k", org, self.http)


def page(ids: list[str], after: str | None) -> httpx.Response:
    return httpx.Response(
        200, json={"data": [{"id": i} for i in ids], "has_more": after is not None, "next_cursor": after}
    )


async def test_a_list_is_walked_page_by_page():
    api = Api(page(["a", "b"], "next"), page(["c"], None))

    found = [row["id"] async for row in api.client().campaigns("linkedin", all_companies=True, status="active")]

    assert found == ["a", "b", "c"]
    assert [str(request.url) for request in api.requests] == [
        "http://api.example.com/v1/linkedin/campaigns?limit=100&status=active&all_companies=true",
        "http://api.example.com/v1/linkedin/campaigns?limit=100&status=active&all_companies=true&after=next",
    ]


async def test_the_key_and_the_org_go_along():
    api = Api(httpx.Response(200, json={"id": "x"}), httpx.Response(200, json={"id": "x"}))

    await api.client("org_1").me()
    await api.client().me()

    assert api.requests[0].headers["authorization"] == "Bearer otr_live_k"
    assert api.requests[0].headers["outrider-org"] == "org_1"
    assert "outrider-org" not in api.requests[1].headers


async def test_what_is_not_given_is_not_sent():
    api = Api(page([], None), page([], None))

    assert [row async for row in api.client().leads(company_id="cmp_1")] == []
    assert [row async for row in api.client().campaign_analytics(from_="2026-07-01", series=None)] == []

    assert api.requests[0].url.query == b"limit=100&company_id=cmp_1"
    assert api.requests[1].url.query == b"limit=100&from=2026-07-01"


async def test_a_refusal_is_an_error_with_all_that_it_said():
    document = {"code": "company_scope_required", "detail": "say which", "request_id": "req_1"}
    api = Api(httpx.Response(422, json=document))

    with pytest.raises(ApiProblem, match="say which") as caught:
        await api.client().ledger()

    problem = caught.value
    assert (problem.status, problem.code, problem.request_id) == (422, "company_scope_required", "req_1")
    assert not problem.retryable


@pytest.mark.parametrize("body", [b"<html>", b"[]", b""])
async def test_an_answer_that_is_none_of_ours_is_an_error_too(body: bytes):
    api = Api(httpx.Response(503, content=body, headers={"x-request-id": "req_2"}))

    with pytest.raises(ApiProblem) as caught:
        await api.client().me()

    assert (caught.value.code, caught.value.request_id, caught.value.retryable) == ("http_error", "req_2", True)


async def test_an_empty_answer_is_fine():
    api = Api(httpx.Response(204))

    await api.client().revoke_api_key("key_1")

    assert (api.requests[0].method, api.requests[0].url.path) == ("DELETE", "/v1/api-keys/key_1")


async def test_a_client_closes_only_what_it_opened():
    api = Api()
    async with api.client():
        pass
    assert not api.http.is_closed
    async with OutriderClient("http://api.example.com", "k") as own:
        http = own._http
    assert http.is_closed


def operation(state: str, **more: object) -> httpx.Response:
    document = {"id": "op_sync_1", "kind": "start_campaign", "state": state, "needs_decision": False}
    return httpx.Response(200, json=document | {"error_code": None, "error": None} | more)


async def test_a_change_is_asked_for_with_its_key_and_followed_to_its_end():
    api = Api(operation("pending"), operation("running"), operation("succeeded", result={"campaign_id": "cam_1"}))

    asked = await api.client().create_campaign("email", "acc_1", "Autumn", idempotency_key="one")
    done = await api.client().wait_for(asked, poll_seconds=0)

    assert done["result"] == {"campaign_id": "cam_1"}
    assert [(request.method, request.url.path) for request in api.requests] == [
        ("POST", "/v1/email/campaigns"),
        ("GET", "/v1/operations/op_sync_1"),
        ("GET", "/v1/operations/op_sync_1"),
    ]
    assert api.requests[0].headers["idempotency-key"] == "one"
    assert api.requests[0].headers["authorization"] == "Bearer otr_live_k"
    assert "idempotency-key" not in api.requests[1].headers


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            operation("failed", error_code="provider_refused", error="no mailbox"),
            "failed: provider_refused: no mailbox",
        ),
        (operation("cancelled"), "cancelled"),
        (operation("unknown", needs_decision=True, error_code="answer_unknown"), "needs a decision"),
    ],
)
async def test_what_will_not_be_done_is_an_error(answer: httpx.Response, words: str):
    with pytest.raises(OperationFailed, match=words) as caught:
        await Api(answer).client().wait_for({"id": "op_sync_1"}, poll_seconds=0)
    assert caught.value.operation["id"] == "op_sync_1"


async def test_what_goes_on_is_not_waited_for_for_ever():
    api = Api(operation("unknown"), operation("running"))
    with pytest.raises(TimeoutError):
        await api.client().wait_for({"id": "op_sync_1"}, within_seconds=0.05, poll_seconds=60)
    assert len(api.requests) == 1
