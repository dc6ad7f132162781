from __future__ import annotations

import asyncio
import gzip
import logging
import re
from collections.abc import AsyncIterator, Callable, Collection
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from libs import clock
from libs.errors import ContractViolated, CredentialRefused, ProviderRefused, ProviderUnavailable, RateLimited
from libs.providers import calls
from libs.providers.calls import CallPolicy, NotThere, call

URL = "https://provider.example.com/api/v1/things"
QUICK = CallPolicy(tries=4, first_wait_seconds=0.001, longest_wait_seconds=0.002, deadline_seconds=5)
SECRET = "s3cret-key"

Handler = Callable[[httpx.Request], httpx.Response]


def says(value: object) -> str | None:
    return str(value["error"]) if isinstance(value, dict) and "error" in value else None


class Provider:
    """Answers with the given answers, then with `[]`; keeps the requests."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self._answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self._answers.pop(0) if self._answers else httpx.Response(200, json=[])
        if isinstance(answer, Exception):
            raise answer
        return answer


async def ask(
    provider: Handler,
    *,
    idempotent: bool = True,
    policy: CallPolicy = QUICK,
    method: str = "GET",
    refusal_in: Callable[[bytes], str | None] | None = None,
    key_refused_by: Collection[int] = (401, 403),
) -> object:
    async with httpx.AsyncClient(transport=httpx.MockTransport(provider)) as http:
        value, _ = await call(
            http,
            method,
            URL,
            idempotent=idempotent,
            params={"api_key": SECRET},
            secrets=(SECRET,),
            explain=says,
            refusal_in=refusal_in,
            key_refused_by=key_refused_by,
            policy=policy,
        )
        return value


@pytest.mark.parametrize(
    "hiccup",
    [
        httpx.Response(500),
        httpx.Response(503, text="<html>soon</html>"),
        httpx.Response(429),
        httpx.Response(429, headers={"retry-after": "0"}),
        httpx.Response(200, text="<html>soon</html>"),
        httpx.Response(403, text="<html>are you a robot?</html>"),
        httpx.Response(302, headers={"location": "https://elsewhere.example.com"}),
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        httpx.RemoteProtocolError("cut off"),
    ],
)
async def test_a_hiccup_is_bridged(hiccup: httpx.Response | Exception) -> None:
    provider = Provider(hiccup, hiccup)

    assert await ask(provider) == []
    assert len(provider.requests) == 3


async def test_a_no_that_comes_with_200_is_a_no() -> None:
    provider = Provider(httpx.Response(200, text=f"The key {SECRET} is no key here."), httpx.Response(200, json=[7]))

    with pytest.raises(ProviderRefused, match=r"answered 200: The key \*\*\* is no key here\."):
        await ask(provider, refusal_in=lambda body: body.decode())
    assert await ask(provider, refusal_in=lambda _: None) == [7]
    assert len(provider.requests) == 2


@pytest.mark.parametrize("idempotent", [True, False])
async def test_whoever_watches_can_tell_a_call_that_may_be_repeated(idempotent: bool) -> None:
    provider = Provider()

    await ask(provider, idempotent=idempotent, method="POST")

    assert provider.requests[0].extensions["idempotent"] is idempotent


async def test_a_call_that_may_have_landed_is_not_made_twice() -> None:
    provider = Provider(httpx.ReadTimeout("slow"))

    with pytest.raises(ProviderUnavailable):
        await ask(provider, idempotent=False, method="POST")

    assert len(provider.requests) == 1


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.Response(500), ProviderUnavailable),
        (httpx.Response(429), RateLimited),
        (httpx.Response(200, text="<html>"), ProviderUnavailable),
        (httpx.ConnectTimeout("slow"), ProviderUnavailable),
    ],
)
async def test_what_lasts_is_told_after_the_last_try(
    answer: httpx.Response | Exception, error: type[Exception]
) -> None:
    provider = Provider(*[answer] * 9)

    with pytest.raises(error):
        await ask(provider)

    assert len(provider.requests) == QUICK.tries


@pytest.mark.parametrize("status", [400, 401, 404, 406, 422])
async def test_a_no_is_a_no(status: int) -> None:
    provider = Provider(httpx.Response(status, json={"error": "we will not"}))

    with pytest.raises(ProviderRefused, match=f"GET /api/v1/things: answered {status}: we will not"):
        await ask(provider)

    assert len(provider.requests) == 1


async def test_retry_after_is_waited_for() -> None:
    provider = Provider(httpx.Response(429, headers={"retry-after": "1"}))
    loop = asyncio.get_running_loop()
    start = loop.time()

    assert await ask(provider) == []
    assert loop.time() - start >= 1


async def test_a_wait_longer_than_our_patience_is_left_to_the_caller() -> None:
    provider = Provider(httpx.Response(429, headers={"retry-after": "30"}))

    start = asyncio.get_running_loop().time()
    with pytest.raises(RateLimited) as limited:
        await ask(provider)

    assert asyncio.get_running_loop().time() - start < 1  # not after the deadline: now
    assert limited.value.retry_after_seconds == 30
    assert len(provider.requests) == 1


async def test_retry_after_may_be_a_date() -> None:
    provider = Provider(httpx.Response(503, headers={"retry-after": "Sat, 11 Jul 2026 12:05:00 GMT"}))

    with clock.frozen(datetime(2026, 7, 11, 12, 0, tzinfo=UTC)), pytest.raises(ProviderUnavailable) as away:
        await ask(provider)

    assert away.value.retry_after_seconds == 300


async def test_the_deadline_holds_for_all_tries_together() -> None:
    async def hangs(request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with httpx.AsyncClient(transport=httpx.MockTransport(hangs)) as http:
        with pytest.raises(ProviderUnavailable, match=r"no answer in 0\.05 s"):
            await call(http, "GET", URL, idempotent=True, explain=says, policy=CallPolicy(deadline_seconds=0.05))


async def test_an_answer_without_end_is_cut() -> None:
    provider = Provider(httpx.Response(200, content=b"[" + b" " * 100_000 + b"]"))

    with pytest.raises(ContractViolated, match="more than 1000 bytes"):
        await ask(provider, policy=CallPolicy(largest_body_bytes=1000))


class Packed(httpx.AsyncByteStream):
    """A body that says whether it was asked for."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.read = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.read = True
        yield self._body


@pytest.mark.parametrize(("encoding", "layers"), [("gzip", 1), ("gzip, gzip", 2)])
async def test_a_body_packed_again_and_again_is_not_unpacked(encoding: str, layers: int) -> None:
    body = b"[]" + b" " * 1_000_000
    for _ in range(layers):
        body = gzip.compress(body)
    stream = Packed(body)
    provider = Provider(httpx.Response(200, headers={"content-encoding": encoding}, stream=stream))

    if layers == 1:
        assert await ask(provider) == []
    else:
        with pytest.raises(ContractViolated, match="packed more than once"):
            await ask(provider)

    assert stream.read is (layers == 1)


async def test_no_secret_reaches_an_error_or_a_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    answers: list[httpx.Response | Exception] = [
        httpx.Response(400, json={"error": f"key {SECRET} is not known"}),
        httpx.Response(500, json={"error": SECRET}),
        httpx.ConnectError(f"cannot reach {URL}?api_key={SECRET}"),
    ]
    for answer in answers:
        with pytest.raises((ProviderRefused, ProviderUnavailable)) as error:
            await ask(Provider(*[answer] * 9))

        assert SECRET not in str(error.value)
        assert error.value.__cause__ is None
    assert await ask(Provider()) == []
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    "said",
    [
        "12|Secret/Token is no key",
        "12%7CSecret%2FToken is no key",
        "12|SECRET/TOKEN is no key",
        "the token Secret/Token is none",
        f"https://hooks.example.com/webhooks/smartlead/{'0a' * 16}_{'x' * 43} is taken",
        f"/webhooks/smartlead/{'0a' * 16}_{'x' * 43} is taken",
    ],
)
async def test_a_provider_that_repeats_what_it_was_told_is_not_repeated(said: str) -> None:
    provider = Provider(httpx.Response(422, json={"error": said}))
    async with httpx.AsyncClient(transport=httpx.MockTransport(provider)) as http:
        with pytest.raises(ProviderRefused) as refusal:
            await call(http, "GET", URL, idempotent=True, secrets=("12|Secret/Token",), explain=says, policy=QUICK)

    assert "***" in str(refusal.value)
    for part in ("secret", "token/", "x" * 20):
        assert part not in str(refusal.value).lower()


async def test_a_content_type_that_is_none_is_not_repeated() -> None:
    with pytest.raises(ProviderUnavailable, match="with a body of an odd type"):
        await ask(Provider(*[httpx.Response(200, text="x", headers={"content-type": SECRET})] * 9))


async def test_the_providers_clock_is_told_though_two_servers_wrote_it() -> None:
    dates = [("date", "Sat, 11 Jul 2026 12:05:00 GMT"), ("date", "Sat, 11 Jul 2026 12:05:01 GMT")]
    provider = Provider(httpx.Response(200, headers=dates, json=[]))
    async with httpx.AsyncClient(transport=httpx.MockTransport(provider)) as http:
        _, answer = await call(http, "GET", URL, idempotent=True, explain=says, policy=QUICK)

    assert answer.answered_at == datetime(2026, 7, 11, 12, 5, tzinfo=UTC)


async def test_an_empty_answer_where_there_is_always_one_is_a_hiccup():
    provider = Provider(httpx.Response(200), httpx.Response(200, json={"id": 7}), httpx.Response(200))
    async with httpx.AsyncClient(transport=httpx.MockTransport(provider)) as http:
        value, _ = await call(http, "GET", URL, idempotent=True, may_be_empty=False, explain=str, policy=QUICK)
        assert (value, len(provider.requests)) == ({"id": 7}, 2)

        with pytest.raises(ProviderUnavailable, match="answered 200 with an empty answer"):
            await call(
                http, "POST", URL, idempotent=False, may_be_empty=False, explain=str, policy=QUICK, json={}
            )  # fmt: skip


async def test_an_empty_answer_is_none_and_odd_characters_are_mended() -> None:
    assert await ask(Provider(httpx.Response(200))) is None
    assert await ask(Provider(httpx.Response(200, content=b'["a\\u0000b\\ud83d"]'))) == ["a\ufffdb\ufffd"]


async def test_a_404_in_the_providers_words_is_a_no_of_its_own() -> None:
    with pytest.raises(NotThere, match="answered 404: no such lead"):
        await ask(Provider(httpx.Response(404, json={"error": "no such lead"})))
    with pytest.raises(ProviderRefused) as refusal:
        await ask(Provider(httpx.Response(404, text="<html></html>")))
    assert not isinstance(refusal.value, NotThere)


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_is_told_apart_and_not_tried_again(status: int) -> None:
    provider = Provider(httpx.Response(status, json={"error": "Invalid API Key"}))

    with pytest.raises(CredentialRefused, match=f"answered {status}: Invalid API Key"):
        await ask(provider)

    assert len(provider.requests) == 1


async def test_a_403_about_a_record_says_nothing_of_the_key() -> None:
    provider = Provider(httpx.Response(403, json={"error": "not yours"}))

    with pytest.raises(ProviderRefused) as refusal:
        await ask(provider, key_refused_by=(401,))
    assert not isinstance(refusal.value, CredentialRefused)


def test_no_other_module_repeats_calls() -> None:
    """Who repeats is to be found in one place: budgets and deadlines count on it."""
    root = Path(calls.__file__).parents[2]
    found = {
        path.relative_to(root).as_posix()
        for folder in ("libs", "services")
        for path in (root / folder).rglob("*.py")
        if re.search(r"^\s*(import backoff|from backoff )", path.read_text(), re.MULTILINE)
    }
    assert found == {"libs/providers/calls.py"}


async def test_a_word_of_success_is_an_answer_and_any_other_text_is_none() -> None:
    async def told(text: str) -> object:
        transport = httpx.MockTransport(lambda _: httpx.Response(200, text=text))
        async with httpx.AsyncClient(transport=transport) as http:
            value, _ = await call(http, "POST", URL, idempotent=False, explain=says, words=("success", "Queued"))
            return value

    assert await told(" Success\n") == "Success"
    assert await told("queued, will be sent") == "queued, will be sent"
    assert await told('{"ok": true}') == {"ok": True}
    for text in ("<html>success</html>", "no success", "success " * 100):
        with pytest.raises(ProviderUnavailable):
            await told(text)
