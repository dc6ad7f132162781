"""JSON from outside, made fit for storage."""

from __future__ import annotations

import re

import orjson

from libs.errors import ContractViolated

_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a proper pair
    r"|(?P<unfit>u[dD][89a-fA-F][0-9a-fA-F]{2}|u0000)"
    r"|.)",
    re.DOTALL,
)


def parse(body: bytes) -> object:
    """The JSON value in `body`, fit for PostgreSQL: NUL and lone surrogates become U+FFFD.

    Raises:
        ContractViolated: why it is none ("not JSON"), with nothing of the content.
    """
    if b"\\u0000" not in body:
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            if not body.strip():
                raise ContractViolated("empty body") from None
    # orjson refuses lone surrogates, which JavaScript writes whenever it cuts a text inside an emoji.
    try:
        return orjson.loads(_mended(body))
    except UnicodeDecodeError:
        raise ContractViolated("not UTF-8") from None
    except orjson.JSONDecodeError:
        raise ContractViolated("not JSON") from None


def _mended(body: bytes) -> bytes:
    return _ESCAPE.sub(lambda found: "\\ufffd" if found["unfit"] else found[0], body.decode()).encode()
