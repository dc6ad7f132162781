"""HTTP calls to providers: a few short tries, one deadline, our errors.

The only module that knows `backoff`. Retries here bridge a hiccup of seconds; whatever lasts longer goes back to the
inbox or the sync row, whose patience is minutes. No query and no header reaches an error's text, as Smartlead's key
travels in the query; of a body only the sentence that the adapter picks, without the key.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import time
from collections.abc import Callable, Collection, Generator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, cast
from urllib.parse import quote

import backoff
import httpx

from libs import clock
from libs.errors import (
    ContractViolated,
    CredentialRefused,
    ProviderRefused,
    ProviderUnavailable,
    RateLimited,
    TransientError,
)
from libs.observability.reasons import SECRETIVE
from libs.providers.payloads import parse

# httpx writes every request's full URL at INFO, and with it Smartlead's api_key.
logging.getLogger("httpx").setLevel(logging.WARNING)

LONGEST_EXPLANATION = 200  # enough for a provider's sentence, too little for a page
_SHORTEST_SECRET = 6  # what is shorter is in any sentence by chance
_KIND = re.compile(r"no content type|(text|application|image|multipart)/[a-z0-9.+-]{1,40}", re.IGNORECASE)
_WORTH_ANOTHER_TRY = (RateLimited, ProviderUnavailable)


class NotThere(ProviderRefused):
    """A 404 in the provider's own words. Whether the record or the route is missing, only those words tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallPolicy:
    """How patient one call is. Waits are drawn from 0..ceiling (full jitter); it doubles from first to longest."""

    tries: int = 4
    first_wait_seconds: float = 1.0  # clients of Smartlead that back off from 1-2 s, doubling, get by
    longest_wait_seconds: float = 8.0
    attempt_timeout_seconds: float = 30.0
    deadline_seconds: float = 90.0  # all tries and waits together
    largest_body_bytes: int = 64 * 1024 * 1024  # 1,000 statistics rows carry a rendered body of ~10 KB each


@dataclass(frozen=True, slots=True)
class Answer:
    """A 2xx answer. `answered_at` is the provider's own clock (the Date header), None when it does not say."""

    status: int
    body: bytes
    content_type: str
    answered_at: datetime | None

    def json(self) -> object:
        """The value; None for an empty body.

        Raises:
            ProviderUnavailable: a page or a cut-off text where JSON was promised; a proxy's or a half-dead server's.
        """
        if not self.body.strip():
            return None
        try:
            return parse(self.body)
        except ContractViolated as refusal:
            kind = self.content_type.partition(";")[0].strip() or "no content type"
            kind = f"({kind})" if _KIND.fullmatch(kind) else "of an odd type"
            raise ProviderUnavailable(f"answered {self.status} with a body {kind} that is {refusal}") from None


async def call(
    http: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    idempotent: bool,
    params: Mapping[str, str | int] | None = None,
    json: object = None,
    headers: Mapping[str, str] | None = None,
    secrets: Collection[str] = (),
    explain: Callable[[object], str | None],
    refusal_in: Callable[[bytes], str | None] | None = None,
    key_refused_by: Collection[int] = (401, 403),
    words: Collection[str] = (),
    policy: CallPolicy = CallPolicy(),
    shown_path: str | None = None,
    may_be_empty: bool = True,
) -> tuple[object, Answer]:
    """Make one call that answers JSON; returns the value (None: empty body) and the answer around it.

    Only an idempotent call is tried again: a timed-out POST may have landed. `explain` finds the provider's own
    sentence in an error body; `secrets` are struck out of it. `refusal_in` finds one in a 2xx body: some providers say
    no with a 200. `key_refused_by` are the statuses that speak of the key; where a 403 is about the record it is left
    out. `words` are beginnings of plain texts that are a success, and then the value: some providers answer a write so.
    The request carries `extensions["idempotent"]`, for whoever watches what was sent. `shown_path` is what errors show of
    a path that holds a person's address. `may_be_empty` False: a 2xx without a byte is no answer, and is asked for again
    as such.

    Raises:
        RateLimited, ProviderUnavailable: after the last try; at once when the provider asks for more time than is left.
        ProviderRefused: a 4xx; NotThere for a 404, CredentialRefused for the key.
        ContractViolated: the answer is larger than we take.
    """
    label = f"{method} {shown_path or httpx.URL(url).path}"
    ends_at = time.monotonic() + policy.deadline_seconds
    last: TransientError | None = None

    async def attempt() -> tuple[object, Answer]:
        nonlocal last
        try:
            request = http.build_request(
                method,
                url,
                params=params,
                json=json,
                headers=headers,
                timeout=policy.attempt_timeout_seconds,
                extensions={"idempotent": idempotent},
            )
            answer = await _exchange(http, request, policy.largest_body_bytes, explain, secrets, key_refused_by)
            refusal = refusal_in(answer.body) if refusal_in is not None else None
            if refusal is not None:
                raise ProviderRefused(f"answered {answer.status}: {_quoted(refusal, secrets)}")
            if not may_be_empty and not answer.body.strip():
                raise ProviderUnavailable(f"answered {answer.status} with an empty answer")
            return _spoken(answer.body, words) or answer.json(), answer
        except _WORTH_ANOTHER_TRY as error:
            last = type(error)(f"{label}: {error}", retry_after_seconds=error.retry_after_seconds)
            raise last from None
        except (ProviderRefused, ContractViolated) as error:
            raise type(error)(f"{label}: {error}") from None
        except httpx.RequestError as error:
            last = ProviderUnavailable(f"{label}: no answer ({type(error).__name__})")
            raise last from None

    def hopeless(error: Exception) -> bool:
        asked = cast(TransientError, error).retry_after_seconds
        return asked is not None and time.monotonic() + asked >= ends_at

    patient = backoff.on_exception(
        _waits,
        _WORTH_ANOTHER_TRY,
        max_tries=policy.tries if idempotent else 1,
        jitter=None,  # _waits draws it: a wait that the provider asked for must not be shortened
        giveup=hopeless,
        logger=None,
        policy=policy,
    )
    try:
        async with asyncio.timeout(policy.deadline_seconds):
            return await patient(attempt)()
    except TimeoutError:
        raise last or ProviderUnavailable(f"{label}: no answer in {policy.deadline_seconds:g} s") from None


def _waits(policy: CallPolicy) -> Generator[float, Any, None]:  # Any: backoff declares None, and sends the error
    error: TransientError = yield 0.0
    ceiling = policy.first_wait_seconds
    while True:
        jitter = random.uniform(0, ceiling)
        ceiling = min(ceiling * 2, policy.longest_wait_seconds)
        error = yield jitter if error.retry_after_seconds is None else error.retry_after_seconds + jitter


async def _exchange(
    http: httpx.AsyncClient,
    request: httpx.Request,
    largest_body_bytes: int,
    explain: Callable[[object], str | None],
    secrets: Collection[str],
    key_refused_by: Collection[int],
) -> Answer:
    # Redirects are not followed: they would carry the key to wherever they point.
    response = await http.send(request, stream=True, follow_redirects=False)
    try:
        # Each layer multiplies by up to a thousand before a byte can be counted; no provider uses two.
        if "," in response.headers.get("content-encoding", ""):
            raise ContractViolated(f"answered {response.status_code} with a body packed more than once")
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > largest_body_bytes:
                raise ContractViolated(f"answered {response.status_code} with more than {largest_body_bytes} bytes")
    finally:
        await response.aclose()
    answer = Answer(
        status=response.status_code,
        body=bytes(body),
        content_type=response.headers.get("content-type", ""),
        answered_at=answered_at(response.headers),
    )
    if not response.is_success:
        raise _error(answer, retry_after_seconds(response.headers.get("retry-after")), explain, secrets, key_refused_by)
    return answer


def _error(
    answer: Answer,
    retry_after_seconds: float | None,
    explain: Callable[[object], str | None],
    secrets: Collection[str],
    key_refused_by: Collection[int],
) -> RateLimited | ProviderUnavailable | ProviderRefused:
    status = answer.status
    text = f"answered {status}"
    is_json = True
    try:
        # A redirect's body is whatever stands at its end's door, nothing that the provider says to us.
        sentence = explain(answer.json()) if status >= 400 else None
    except ProviderUnavailable:
        sentence, is_json = None, False
    if sentence:
        text += f": {_quoted(sentence, secrets)}"
    if status == 429:
        return RateLimited(text, retry_after_seconds=retry_after_seconds)
    # A 403 page is the guard in front of the provider, not the provider.
    if status >= 500 or status < 400 or status in (408, 425) or (status == 403 and not is_json):
        return ProviderUnavailable(text, retry_after_seconds=retry_after_seconds)
    if status in key_refused_by:
        return CredentialRefused(text)
    return NotThere(text) if status == 404 and is_json else ProviderRefused(text)


def _spoken(body: bytes, words: Collection[str]) -> str | None:
    if not words or len(body) > LONGEST_EXPLANATION:
        return None
    text = body.decode(errors="replace").strip()
    return text if text.lower().startswith(tuple(word.lower() for word in words)) else None


def _quoted(sentence: str, secrets: Collection[str]) -> str:
    """What reason_of knows as foreign words by what stands before them, and without what we sent along: keys however
    they are spelled, or the part of one that is the secret, and the URLs at which providers reach us."""
    parts = {part for secret in secrets for part in (secret, *secret.split("|")) if len(part) >= _SHORTEST_SECRET}
    for part in sorted(parts | {quote(part, safe="") for part in parts}, key=len, reverse=True):
        sentence = re.sub(re.escape(part), "***", sentence, flags=re.IGNORECASE)
    return SECRETIVE.sub("***", sentence)[:LONGEST_EXPLANATION]


def answered_at(headers: httpx.Headers) -> datetime | None:
    """The provider's own clock, in whole seconds; None when it does not say."""
    # A server and the app behind it may each write one; the first is the outer one's.
    return _http_date(next(iter(headers.get_list("date")), None))


def retry_after_seconds(value: str | None) -> float | None:
    """Seconds from now, from either spelling of Retry-After; None when it says neither."""
    if value is None:
        return None
    digits = value.strip()
    if digits.isascii() and digits.isdigit() and len(digits) <= 9:
        return float(digits)
    moment = _http_date(value)
    return None if moment is None else max(0.0, (moment - clock.now()).total_seconds())


def _http_date(value: str | None) -> datetime | None:
    if value is None:
        return None
    try:
        moment = parsedate_to_datetime(value)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
