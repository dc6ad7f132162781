"""Lists in pages: all rows or an error, whatever the instance makes of our wishes.

Pages have 15 rows; newer instances honour `per_page` in places. Cursors (2026) cannot skip or repeat rows of a list that
grows meanwhile, and do not end at 500 pages as page numbers do: so they are asked for first, and where the answer has
no cursor it is one of numbered pages. `links.next` is never followed: it is absolute, and might lead elsewhere.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from libs.errors import ContractViolated, Invalid, ProviderUnavailable
from libs.providers.feeds import ListMoved
from libs.providers.fields import Fields

Params = Mapping[str, str | int]
Get = Callable[[Params], Awaitable[object]]

ROWS_WISHED = 100
LONGEST_CURSOR = 2000
LISTING_TRIES = 3  # a running campaign grows while it is listed; thrice in a row is no chance any more


class _Moved(ProviderUnavailable):
    """Pages that were not cut from one list. Not told to callers apart: for them it is "later may work"."""


async def read_all(get: Get, name: str) -> Sequence[Fields]:
    """Every row of the list that `get` asks for, each with its own id.

    Raises:
        ProviderUnavailable: the list changed while it was read, each time.
        ContractViolated: an answer that is no page.
    """
    for _ in range(LISTING_TRIES - 1):
        try:
            return await _read_once(get, name)
        except _Moved:
            continue
    return await _read_once(get, name)


async def read_page(get: Get, name: str, after: str | None) -> tuple[Sequence[Fields], str | None]:
    """One page and where the next one begins: "c:" and a cursor, or "p:" and a number; None after the last.

    Raises:
        ListMoved: the page is another one, or leads to itself.
        Invalid: `after` is no such place.
    """
    place, _, value = (after or "").partition(":")
    params: dict[str, str | int] = {"per_page": ROWS_WISHED}
    if after is None:
        params["pagination_type"] = "cursor"
    elif place == "c" and value and len(value) <= LONGEST_CURSOR:
        params |= {"pagination_type": "cursor", "cursor": value}
    elif place == "p" and value.isascii() and value.isdigit() and len(value) <= 9:
        params["page"] = int(value)
    else:
        raise Invalid("this is no place in a list of EmailBison's", pointer="after")
    page = _page(await get(params), name)
    meta, rows = page.nested("meta"), page.rows("data")
    if meta.states("next_cursor"):
        cursor = meta.filled("next_cursor")
        if cursor is not None and cursor == value:
            raise ListMoved(f"{name}: a cursor leads back")
        return rows, f"c:{cursor}" if cursor is not None else None
    if place == "c":
        raise ContractViolated(f"{name}.meta.next_cursor is missing")
    number, last = _number(meta, "current_page", name), _number(meta, "last_page", name)
    if number != params.get("page", 1):
        raise ListMoved(f"{name}: another page than the one asked for")
    return rows, f"p:{number + 1}" if number < last else None


async def _read_once(get: Get, name: str) -> Sequence[Fields]:
    params: dict[str, str | int] = {"per_page": ROWS_WISHED, "pagination_type": "cursor"}
    page = _page(await get(params), name)
    meta = page.nested("meta")
    rows = _Rows(name)
    rows.add(page)
    if meta.states("next_cursor"):
        cursors: set[str] = set()
        while (cursor := meta.filled("next_cursor")) is not None:
            if cursor in cursors:
                raise _Moved(f"{name}: a cursor leads back")
            cursors.add(cursor)
            page = _page(await get({**params, "cursor": cursor}), name)
            meta = page.nested("meta")
            if not meta.states("next_cursor"):
                raise ContractViolated(f"{name}.meta.next_cursor is missing")
            rows.add(page)
        return rows.found
    last, total = _number(meta, "last_page", name), meta.identifier("total")
    # The total itself is not believed (one list under-counts its own), only that it stays what it was.
    for number in range(1, last + 1):
        if number > 1:
            page = _page(await get({"per_page": ROWS_WISHED, "page": number}), name)
            meta = page.nested("meta")
            if not page.rows("data"):
                raise _Moved(f"{name}: an empty page before the last")
            rows.add(page)
        told = (_number(meta, "current_page", name), _number(meta, "last_page", name), meta.identifier("total"))
        if told != (number, last, total):
            raise _Moved(f"{name}: the list changed while it was read")
    return rows.found


class _Rows:
    def __init__(self, name: str) -> None:
        self._name = name
        self._ids: set[str] = set()
        self.found: list[Fields] = []

    def add(self, page: Fields) -> None:
        for row in page.rows("data"):
            found = row.identifier("id")
            if found is None:
                raise row.refuse("id", "is missing")
            if found in self._ids:
                raise _Moved(f"{self._name}: a row is told twice")
            self._ids.add(found)
            self.found.append(row)


def _page(value: object, name: str) -> Fields:
    if value is None:
        raise ProviderUnavailable(f"an empty answer instead of {name}")
    page = Fields({name: value}).nested(name)
    if not page.states("data"):
        raise ContractViolated(f"{name}.data is missing")
    return page


def _number(meta: Fields, field: str, name: str) -> int:
    digits = meta.identifier(field)
    if digits is None:
        raise ContractViolated(f"{name}.meta.{field} is missing")
    return int(digits)
