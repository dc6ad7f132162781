"""Calls to HeyReach's API: where the key goes, how a no reads, how lists are paged.

Nearly all its reads are POSTs, so whether a call may be repeated is said by which of `_read` and `_write` makes it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

import httpx

from libs.errors import ContractViolated, CredentialRefused, Invalid, ProviderRefused, ProviderUnavailable
from libs.providers.calls import Answer, CallPolicy, NotThere, call
from libs.providers.fields import Fields

USER_AGENT = "Outrider/0.1"
PAGE = 100  # the provider's cap
MOST_PAGES = 1000  # totals are hints; this only ends a provider that has no end
LISTING_TRIES = 3  # a list that is added to while it is read is read again
# The sentence of a key that is the organization's: it comes as 200 and plain text.
_WRONG_KIND_OF_KEY = b"not a workspace-level key"
_WRONG_KIND = "the key is an organization's; a workspace's is needed"

Params = Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class Listed:
    """One page by offset. `total` is a hint: None where the provider has none, also in the shape of a 0."""

    rows: Sequence[Fields]
    total: int | None
    answer: Answer


class HeyReachApi:
    """One workspace: one API key. All that the client's parts share."""

    def __init__(
        self, api_key: str, base_url: str, http: httpx.AsyncClient, *, policy: CallPolicy = CallPolicy()
    ) -> None:
        self._api_key = api_key
        self._base_url = base_url.rstrip("/")
        self._http = http
        self._policy = policy

    async def _read(
        self, method: str, path: str, *, params: Params | None = None, json: object = None
    ) -> tuple[object, Answer]:
        return await self._call(method, path, params=params, json=json, idempotent=True)

    async def _write(self, method: str, path: str, *, params: Params | None = None, json: object = None) -> object:
        """One call that changes something, made once. None: nearly every success is a 200 without a byte."""
        value, _ = await self._call(method, path, params=params, json=json, idempotent=False)
        return value

    async def _listed(self, path: str, name: str, offset: int, body: Mapping[str, object] | None = None) -> Listed:
        value, answer = await self._read("POST", path, json={**(body or {}), "offset": offset, "limit": PAGE})
        page = as_object(value, name)
        if not page.states("items"):
            raise ContractViolated(f"{name}.items is missing")
        return Listed(page.rows("items"), int(page.identifier("totalCount") or 0) or None, answer)

    async def _rows(
        self, path: str, name: str, id_name: str = "id", body: Mapping[str, object] | None = None
    ) -> AsyncIterator[tuple[Fields, Listed]]:
        """Every row of a list, with the page it came in. A row may come twice or not at all while the list changes."""
        offset, before = 0, None
        for _ in range(MOST_PAGES):
            page = await self._listed(path, name, offset, body)
            if not page.rows:
                return
            first = page.rows[0].identifier(id_name)
            if first is not None and first == before:
                raise ProviderUnavailable(f"{name}: the same page again")
            before = first
            for row in page.rows:
                yield row, page
            offset += len(page.rows)
            if page.total is not None and page.total <= offset:
                return
        raise ContractViolated(f"{name}: more than {MOST_PAGES} pages")

    async def _whole(self, path: str, name: str, id_name: str = "id") -> dict[str, Fields]:
        """Every row by its id, or an error.

        Raises:
            ProviderUnavailable: the pages do not make one list, however often they are read.
        """
        for _ in range(LISTING_TRIES):
            found: dict[str, Fields] = {}
            read, total = 0, None
            async for row, page in self._rows(path, name, id_name):
                found[required(row.identifier(id_name), f"{name}.items[].{id_name}")] = row
                read, total = read + 1, page.total
            if len(found) == read and total in (None, read):
                return found
        raise ProviderUnavailable(f"{name}: they moved while they were listed")

    async def _call(
        self, method: str, path: str, *, params: Params | None, json: object, idempotent: bool
    ) -> tuple[object, Answer]:
        try:
            return await call(
                self._http,
                method,
                self._base_url + path,
                idempotent=idempotent,
                params=params,
                json=json,
                headers={"X-API-KEY": self._api_key, "User-Agent": USER_AGENT, "Accept": "application/json"},
                secrets=(self._api_key,),
                explain=explanation,
                refusal_in=_refusal,
                policy=self._policy,
            )
        except (NotThere, CredentialRefused):
            raise
        except ProviderRefused as refusal:
            text = str(refusal)
            if text.endswith(_WRONG_KIND):
                raise CredentialRefused(text) from None
            # What is missing is told by 404 here and by 400 there.
            if "does not exist" in text or "There is no " in text:
                raise NotThere(text) from None
            raise


def explanation(body: object) -> str | None:
    """The provider's sentence: a business rule's `errorMessage`, the first of a validation's `errors`, or what a client
    or two look for besides."""
    if not isinstance(body, dict):
        return None
    errors = body.get("errors")
    lists = errors.values() if isinstance(errors, dict) else ()
    details = [sentence for found in lists if isinstance(found, list) for sentence in found]
    order = (body.get("errorMessage"), *details, *(body.get(name) for name in ("detail", "message", "error", "title")))
    return next((sentence for sentence in order if isinstance(sentence, str) and sentence), None)


def _refusal(body: bytes) -> str | None:
    return _WRONG_KIND if len(body) < 500 and _WRONG_KIND_OF_KEY in body else None


def as_object(value: object, name: str) -> Fields:
    if value is None:
        raise ProviderUnavailable(f"an empty answer instead of {name}")
    return Fields({name: value}).nested(name)


def required(value: str | None, name: str) -> str:
    if value is None:
        raise ContractViolated(f"{name} is missing")
    return value


def existing(external_id: str) -> int:
    """An id of something that should be there, as this provider's bodies and queries want it.

    Raises:
        NotThere: nothing has such an id.
    """
    if not _is_id(external_id):
        raise NotThere("there is no such record: HeyReach's ids are digits")
    return int(external_id)


def as_number(external_id: str, name: str) -> int:
    """An id among what is to be written.

    Raises:
        Invalid: it is none.
    """
    if not _is_id(external_id):
        raise Invalid(f"{name} is no id of HeyReach's: its ids are digits", pointer=f"/{name}")
    return int(external_id)


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 18
