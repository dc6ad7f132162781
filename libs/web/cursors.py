"""Cursors: opaque, MACed positions in one list of one org, so that neither another org's nor an edited one is taken."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from typing import Any, TypeVar

import orjson

from libs.errors import Invalid
from libs.ids import OrgId

MAX_LIMIT = 100
_MAC_BYTES = 12

T = TypeVar("T")


class Cursors:
    """Makes and reads the cursors of one service. `key` is any secret that its replicas share."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()

    def write(self, position: Sequence[Any], *, org_id: OrgId, query: str) -> str:
        """`position` is the sort key of the last row shown; `query` names the list with its filters and sort."""
        payload = orjson.dumps(list(position), default=str)
        return base64.urlsafe_b64encode(self._mac(payload, org_id, query) + payload).decode().rstrip("=")

    def read(self, cursor: str | None, *, org_id: OrgId, query: str) -> list[Any] | None:
        """The position, or None for the first page.

        Raises:
            Invalid: not ours, another org's, or made for another list or filter.
        """
        if cursor is None:
            return None
        try:
            raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
            mac, payload = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
            if hmac.compare_digest(mac, self._mac(payload, org_id, query)):
                position = orjson.loads(payload)
                if isinstance(position, list):
                    return position
        except (ValueError, UnicodeEncodeError):
            pass
        raise Invalid(
            "this cursor is not one of this list; start again without `after`", code="invalid_cursor", pointer="after"
        )

    def _mac(self, payload: bytes, org_id: OrgId, query: str) -> bytes:
        text = org_id.bytes + query.encode() + b"\0" + payload
        return hmac.new(self._key, text, hashlib.sha256).digest()[:_MAC_BYTES]


def page(rows: Sequence[T], limit: int) -> tuple[list[T], bool]:
    """Split what a query for `limit + 1` rows gave into the page and whether there is more."""
    return list(rows[:limit]), len(rows) > limit
