from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

from libs.errors import ContractViolated, DependencyDown, NotFound, RateLimited
from libs.web.app import RequestEdge, make_app


class Lead(BaseModel):
    email: str


@pytest.fixture
def app() -> FastAPI:
    async def ready() -> str:
        return ""

    app = make_app("gateway", ready=ready)

    @app.get("/fail/{how}")
    async def fail(how: str) -> None:
        raise {
            "missing": NotFound("there is no such lead"),
            "later": RateLimited("slow down", retry_after_seconds=7),
            "down": DependencyDown("the database is away"),
            "permanent": ContractViolated("a secret detail"),
            "bug": KeyError("a secret detail"),
        }[how]

    @app.post("/leads")
    async def add(lead: Lead) -> Lead:
        return lead

    return app


async def ask(app: Any, method: str, path: str, **more: Any) -> httpx.Response:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        return await client.request(method, path, **more)


@pytest.mark.parametrize(
    ("how", "status", "code", "retry_after"),
    [
        ("missing", 404, "not_found", None),
        ("later", 429, "rate_limited", "7"),
        ("down", 503, "dependency_down", "2"),
        ("permanent", 500, "internal", None),
        ("bug", 500, "internal", None),
    ],
)
async def test_each_kind_of_error_has_its_answer(app, how, status, code, retry_after):
    response = await ask(app, "GET", f"/fail/{how}")

    document = response.json()
    assert (response.status_code, document["status"], document["code"]) == (status, status, code)
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers.get("retry-after") == retry_after
    assert document["retryable"] is (retry_after is not None)
    assert document["request_id"] == response.headers["x-request-id"]
    assert "secret" not in response.text


async def test_every_answer_has_one_request_id(app):
    for method, path in (("GET", "/health/live"), ("GET", "/nowhere"), ("PUT", "/leads"), ("GET", "/fail/bug")):
        ids = (await ask(app, method, path)).headers.get_list("x-request-id")
        assert len(ids) == 1
        assert re.fullmatch(r"req_[0-9a-f]{32}", ids[0])


async def test_an_id_in_our_form_is_kept_and_any_other_replaced(app):
    ours = "req_" + "0" * 32
    assert (await ask(app, "GET", "/health/live", headers={"x-request-id": ours})).headers["x-request-id"] == ours
    for given in ("1", ours + "\n", ours.upper(), 'req_"}{', "req_" + "g" * 32):
        kept = (await ask(app, "GET", "/health/live", headers={"x-request-id": given})).headers["x-request-id"]
        assert kept != given.strip()


async def test_a_body_that_is_none_is_told_where(app):
    response = await ask(app, "POST", "/leads", json={"email": 1})

    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == "/body/email"


async def test_wrong_addresses_and_methods(app):
    missing, method = await ask(app, "GET", "/nowhere"), await ask(app, "PUT", "/leads")

    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
    assert (method.status_code, method.json()["code"]) == (405, "method_not_allowed")


async def test_who_is_not_ready_says_why():
    async def ready() -> str:
        return "no database"

    app = make_app("gateway", ready=ready)

    response = await ask(app, "GET", "/health/ready")
    assert (response.status_code, response.json()["detail"]) == (503, "no database")
    assert (await ask(app, "GET", "/health/live")).status_code == 200


async def test_an_answer_that_breaks_off_is_not_answered_twice():
    sent: list[Any] = []

    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("half way")

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    with pytest.raises(RuntimeError):
        await RequestEdge(broken)({"type": "http", "method": "GET", "headers": []}, receive, send)
    assert sent == ["http.response.start"]
