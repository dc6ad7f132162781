"""What may be said of an error where others read it: its cause, never the payload it met."""

from __future__ import annotations

import re
import traceback

import asyncpg
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError

# What a provider said of its refusal (libs.providers.calls puts it there): its words may name anybody.
_SAID = re.compile(r"(\banswered \d{3}): .*", re.DOTALL)
# Addresses with whatever they carry, our webhook tokens and our API keys.
SECRETIVE = re.compile(r"\b[a-z][a-z0-9+.-]*://\S+|\b[0-9a-f]{32}_[\w-]{20,}|\botr_\w+", re.IGNORECASE)
# What differs between two failures of one cause: ids, numbers, quoted values, addresses. A quote within a word ("can't",
# 'O'Brien') neither opens nor closes. A provider's status is the cause itself.
_VARYING = re.compile(
    SECRETIVE.pattern
    + r"|[0-9a-f]{8}-[0-9a-f-]{27}|[\w.+-]+@[\w.-]+|(?<!\w)'.*?'(?!\w)|\"[^\"]*\"|\b[0-9a-f]{16,}\b|(?<!\banswered )\b\d+\b",
    re.IGNORECASE | re.DOTALL,
)
_MAX_REASON = 500


def reason_of(error: BaseException) -> str:
    """The error's message with all that may stem from a payload replaced by `…`; at most 500 characters."""
    message = _SAID.sub(r"\1: …", _message(error) or type(error).__name__)
    return _VARYING.sub("…", message)[:_MAX_REASON]


def _message(error: BaseException) -> str:
    if isinstance(error, DBAPIError):  # str() shows the statement's parameters
        cause = error.orig.__cause__ if error.orig else None
        return _message(cause) if cause is not None else type(error).__name__
    if isinstance(error, asyncpg.PostgresError):
        return str(error.args[0]) if error.args else ""  # str() adds the DETAIL: the row's values
    if isinstance(error, ValidationError):  # str() shows the input, cut in its middle
        found = sorted({str(one["type"]) for one in error.errors(include_input=False, include_url=False)})
        return f"{error.title}: {', '.join(found)}"
    return str(error)


def trace_of(error: BaseException) -> str:
    """A traceback whose messages are reasons; what came first stands first, as in Python's own."""
    lines = [*traceback.format_tb(error.__traceback__), f"{type(error).__qualname__}: {reason_of(error)}"]
    earlier = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return (f"{trace_of(earlier)}\n\n" if earlier is not None else "") + "".join(lines)
