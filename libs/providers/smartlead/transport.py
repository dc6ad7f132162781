"""Calls to Smartlead's API: where the key goes, how a no reads, and what an answer without an answer means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import httpx

from libs.errors import ContractViolated, CredentialRefused, Invalid, ProviderRefused, ProviderUnavailable
from libs.providers.calls import Answer, CallPolicy, NotThere, call
from libs.providers.fields import Fields
from libs.providers.payloads import parse

# The guard in front of the provider turns away the names of bare HTTP libraries.
USER_AGENT = "Outrider/0.1"

Params = Mapping[str, str | int]


class SmartleadApi:
    """One account: one API key. All that the client's parts share."""

    def __init__(
        self, api_key: str, base_url: str, http: httpx.AsyncClient, *, policy: CallPolicy = CallPolicy()
    ) -> None:
        self._api_key = api_key
        self._base_url = base_url.rstrip("/")
        self._http = http
        self._policy = policy

    async def _get(self, path: str, params: Params | None = None) -> object:
        value, _ = await self._call("GET", path, params)
        return value

    async def _write(
        self, method: str, path: str, json: object = None, *, words: Sequence[str] = ("success",)
    ) -> Fields:
        """One call that changes something, made once. Answers what came back, {} for a bare word of success.

        Raises:
            ProviderUnavailable: also for an empty answer and for a text that is none of `words`: it may have been done.
        """
        value, _ = await self._call(method, path, json=json, words=words)
        if value is None:
            raise ProviderUnavailable(f"{method} {path}: an empty answer to a write")
        return Fields({}) if isinstance(value, str) else as_object(value, "answer")

    async def _call(
        self,
        method: str,
        path: str,
        params: Params | None = None,
        json: object = None,
        *,
        idempotent: bool | None = None,
        words: Sequence[str] = (),
    ) -> tuple[object, Answer]:
        """`idempotent` is said of the few reads that are POSTs."""
        try:
            return await call(
                self._http,
                method,
                self._base_url + path,
                idempotent=method == "GET" if idempotent is None else idempotent,
                params={**(params or {}), "api_key": self._api_key},
                json=json,
                headers={"User-Agent": USER_AGENT, "Accept": "application/json"},
                secrets=(self._api_key,),
                explain=explanation,
                refusal_in=refusal_in,
                words=words,
                policy=self._policy,
            )
        except (NotThere, CredentialRefused):
            raise
        except ProviderRefused as refusal:
            # "Campaign not found - Invalid campaign_id." comes as 404 and as 400.
            if "not found" in str(refusal).lower():
                raise NotThere(str(refusal)) from None
            raise


def explanation(body: object) -> str | None:
    """The provider's sentence in any of its four error shapes; a Joi body says its own under `message`."""
    if not isinstance(body, dict):
        return None
    error, message = body.get("error"), body.get("message")
    nested = error.get("message") if isinstance(error, dict) else None
    order = (message, error, nested) if "validation" in body else (error, message, nested)
    return next((sentence for sentence in order if isinstance(sentence, str) and sentence), None)


def refusal_in(body: bytes) -> str | None:
    """What a 2xx refuses with: `ok` is false, or there is an `error` and no `ok`."""
    if b'"ok"' not in body[:1000] and b'"error"' not in body[:1000]:
        return None
    try:
        value = parse(body)
    except ContractViolated:
        return None
    if isinstance(value, dict) and value.get("ok") is not True and (value.get("ok") is False or value.get("error")):
        return explanation(value) or "no reason given"
    return None


def is_nothing(value: object) -> bool:
    """How this provider says 404 to a GET: with a 200 and `{}`. It has been seen with no bytes at all, but so has a hiccup:
    who cares asks elsewhere."""
    return value == {}


def list_of_objects(value: object, name: str) -> Sequence[Fields]:
    """The rows of a bare list."""
    if value is None:
        raise ProviderUnavailable(f"an empty answer instead of {name}")
    return Fields({name: value}).rows(name)


def as_object(value: object, name: str) -> Fields:
    if value is None:
        raise ProviderUnavailable(f"an empty answer instead of the {name}")
    return Fields({name: value}).nested(name)


def required(value: str | None, name: str) -> str:
    if value is None:
        raise ContractViolated(f"{name} is missing")
    return value


def in_path(external_id: str) -> str:
    """An id that is to become a part of a path.

    Raises:
        NotThere: nothing has such an id, and with it the path would lead elsewhere.
    """
    if not _is_id(external_id):
        raise NotThere("there is no such record: Smartlead's ids are digits")
    return external_id


def as_number(external_id: str, name: str) -> int:
    """An id as this provider's bodies want it.

    Raises:
        Invalid: it is none.
    """
    if not _is_id(external_id):
        raise Invalid(f"{name} is no id of Smartlead's: its ids are digits", pointer=f"/{name}")
    return int(external_id)


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 20


def count(fields: Fields, name: str) -> int:
    """A counter, a number here and text there; not stated is 0. A list counts its members."""
    value = fields.raw.get(name)
    if isinstance(value, list):
        return len(value)
    return int(fields.identifier(name) or 0)
