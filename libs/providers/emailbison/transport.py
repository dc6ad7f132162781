"""Calls to EmailBison's API: where the key goes, how a no reads, and what may become a part of a path."""

from __future__ import annotations

from collections.abc import Sequence

import httpx

from libs.errors import ContractViolated, Invalid, ProviderUnavailable
from libs.providers.calls import Answer, CallPolicy, NotThere, call
from libs.providers.emailbison import pages
from libs.providers.fields import Fields
from libs.providers.payloads import parse

USER_AGENT = "Outrider/0.1"


class EmailBisonApi:
    """One account: one workspace of one instance. All that the client's parts share."""

    def __init__(
        self, api_key: str, base_url: str, http: httpx.AsyncClient, *, policy: CallPolicy = CallPolicy()
    ) -> None:
        self._api_key = api_key
        self._base_url = base_url.rstrip("/").removesuffix("/api") + "/api"
        self._http = http
        self._policy = policy

    async def _list(self, path: str, params: pages.Params | None = None) -> Sequence[Fields]:
        async def get(page: pages.Params) -> object:
            return await self._get(path, {**(params or {}), **page})

        return await pages.read_all(get, path.strip("/"))

    async def _get(self, path: str, params: pages.Params | None = None) -> object:
        value, _ = await self._call("GET", path, params)
        return value

    async def _write(self, method: str, path: str, json: object = None) -> Fields:
        """One call that changes something, made once. Answers what came back.

        Raises:
            ProviderUnavailable: also for an empty answer: it may have been done.
        """
        value, _ = await self._call(method, path, json=json)
        if value is None:
            raise ProviderUnavailable(f"{method} {path}: an empty answer to a write")
        return Fields({"answer": value}).nested("answer")

    async def _call(
        self,
        method: str,
        path: str,
        params: pages.Params | None = None,
        json: object = None,
        shown_path: str | None = None,
        *,
        idempotent: bool | None = None,
    ) -> tuple[object, Answer]:
        """`idempotent` is said of what may be repeated though it is no GET: a read that is a POST, a full replacement."""
        return await call(
            self._http,
            method,
            self._base_url + path,
            idempotent=method == "GET" if idempotent is None else idempotent,
            params=params,
            json=json,
            headers={
                "User-Agent": USER_AGENT,
                "Accept": "application/json",
                "Authorization": f"Bearer {self._api_key}",
            },
            secrets=(self._api_key,),
            explain=explanation,
            refusal_in=refusal_in,
            key_refused_by=(401,),  # a 403 speaks of a record in another workspace
            policy=self._policy,
            shown_path=shown_path,
            may_be_empty=False,  # every call of this API answers an object
        )


def explanation(body: object) -> str | None:
    """The provider's sentence: in its own wrapper, or where Laravel puts it."""
    if not isinstance(body, dict):
        return None
    data = body.get("data")
    wrapped = data.get("message") if isinstance(data, dict) else None
    order = (wrapped, body.get("message"), body.get("error"))
    return next((sentence for sentence in order if isinstance(sentence, str) and sentence), None)


def refusal_in(body: bytes) -> str | None:
    """What a 200 refuses with: `success` is false, in the wrapper or without one."""
    if b'"success"' not in body:
        return None
    try:
        value = parse(body)
    except ContractViolated:
        return None
    if not isinstance(value, dict):
        return None
    wrapper = value.get("data")
    refused = value.get("success") is False or (isinstance(wrapper, dict) and wrapper.get("success") is False)
    return (explanation(value) or "no reason given") if refused else None


def is_route(refusal: NotThere) -> bool:
    """Whether the instance lacks the route, not the record."""
    return "The route " in str(refusal)


def as_object(value: object, name: str) -> Fields:
    """Raises: ProviderUnavailable: an empty answer, which is no empty list."""
    if value is None:
        raise ProviderUnavailable(f"an empty answer instead of the {name}")
    return Fields({name: value}).nested(name)


def data_of(value: object, name: str) -> Fields:
    answer = as_object(value, name)
    if isinstance(answer.raw.get("data"), list) and not answer.raw["data"]:  # PHP's empty object
        return Fields({}, f"{name}.")
    return Fields({name: answer.raw.get("data")}).nested(name)


def required(fields: Fields, name: str, value: str | None) -> str:
    if value is None:
        raise fields.refuse(name, "is missing")
    return value


def in_path(external_id: str) -> str:
    """An id that is to become a part of a path.

    Raises:
        NotThere: nothing has such an id, and with it the path would lead elsewhere.
    """
    if not _is_id(external_id):
        raise NotThere("there is no such record: EmailBison's ids are digits")
    return external_id


def as_number(external_id: str, name: str) -> int:
    """An id as this provider's bodies want it.

    Raises:
        Invalid: it is none.
    """
    if not _is_id(external_id):
        raise Invalid(f"{name} is no id of EmailBison's: its ids are digits", pointer=f"/{name}")
    return int(external_id)


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 20
