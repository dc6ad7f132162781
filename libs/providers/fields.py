"""Reading providers' JSON: ids that change type, numbers as strings, many spellings of a time.

What a field says wrongly is told by name and never quoted: payloads hold people's mail.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from libs import clock
from libs.errors import ContractViolated

JsonObject = dict[str, object]

# A clock may be off by a time zone, never by more; a later time is a mistake and would win every merge until it passes.
BELIEVED_AHEAD = timedelta(hours=24)
# Before all of these providers: .NET's and Unix' empty dates (0001, 1970) and clocks without a battery are no times either.
BELIEVED_SINCE = datetime(2000, 1, 1, tzinfo=UTC)
HIGHEST_STEP = 1000  # statistics can be filtered by steps 1 to 20; anything near this is not a step number
LONGEST_ADDRESS = 320  # RFC 3696: 64 + @ + 255

_ADDRESS = re.compile(r"[^\s@<>\",;]+@[^\s@<>\",;]+")


class Fields:
    """One JSON object, read field by field. Absent and null are both "not stated" unless said otherwise.

    Every method raises ContractViolated, naming the field, for a value of a kind that the provider never sends there.
    """

    __slots__ = ("_path", "raw")

    def __init__(self, raw: JsonObject, path: str = "") -> None:
        self.raw = raw
        self._path = path

    def refuse(self, name: str, why: str) -> ContractViolated:
        return ContractViolated(f"{self._path}{name} {why}")

    def states(self, name: str) -> bool:
        """Whether the key is there at all, be it with null."""
        return name in self.raw

    def text(self, *names: str) -> str | None:
        """The first of `names` that is stated, "" included."""
        for name in names:
            value = self.raw.get(name)
            if value is None:
                continue
            if isinstance(value, str):
                return value
            if isinstance(value, int) and not isinstance(value, bool):
                return str(value)
            raise self.refuse(name, "is not text")
        return None

    def filled(self, *names: str) -> str | None:
        """The first of `names` that holds more than blanks."""
        for name in names:
            value = self.text(name)
            if value is not None and value.strip():
                return value
        return None

    def token(self, name: str) -> str | None:
        """An opaque id (stats id, Message-ID), trimmed; blank is not stated."""
        value = self.filled(name)
        return value.strip() if value is not None else None

    def identifier(self, *names: str) -> str | None:
        """The first numeric id among `names`, as digits: one id is a number here and a string there."""
        for name in names:
            value = self.raw.get(name)
            if value is None or value == "":
                continue
            if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
                return str(value)
            if isinstance(value, str):
                digits = value.strip()
                if digits.isascii() and digits.isdigit() and len(digits) <= 20:
                    return digits.lstrip("0") or "0"
            raise self.refuse(name, "is not an id")
        return None

    def step(self, *names: str) -> int | None:
        """A sequence step's number from 1; 0 is a lead before its first step, hence no step."""
        for name in names:
            value = self.raw.get(name)
            if value is None or value == "":
                continue
            digits = self.identifier(name) or "0"
            if int(digits) > HIGHEST_STEP:
                raise self.refuse(name, "is not a step number")
            return int(digits) or None
        return None

    def flag(self, name: str) -> bool | None:
        value = self.raw.get(name)
        if value is None or isinstance(value, bool):
            return value
        raise self.refuse(name, "is neither true nor false")

    def moment(self, *names: str) -> datetime | None:
        """The first believable time among `names`, UTC; without a zone too, as the provider knows no other."""
        for name in names:
            value = self.raw.get(name)
            if value is None or value == "":
                continue
            found = read_moment(value)
            if found is None:
                raise self.refuse(name, "is not a time")
            if BELIEVED_SINCE <= found <= clock.now() + BELIEVED_AHEAD:
                return found
        return None

    def address(self, *names: str) -> str | None:
        """The first e-mail address among `names`, lower case, without its display name; blank is not stated."""
        for name in names:
            value = self.filled(name)
            if value is None:
                continue
            found = read_address(value)
            if found is None:
                raise self.refuse(name, "is not an e-mail address")
            return found
        return None

    def nested(self, name: str) -> Fields:
        """The object `name`; empty when not stated."""
        value = self.raw.get(name)
        if value is None:
            return Fields({}, f"{self._path}{name}.")
        if isinstance(value, dict):
            return Fields(value, f"{self._path}{name}.")
        raise self.refuse(name, "is not an object")

    def rows(self, name: str) -> Sequence[Fields]:
        """The list of objects `name`; empty when not stated."""
        value = self.raw.get(name)
        if value is None:
            return ()
        if not isinstance(value, list):
            raise self.refuse(name, "is not a list")
        found = []
        for index, row in enumerate(value):
            if not isinstance(row, dict):
                raise self.refuse(f"{name}[{index}]", "is not an object")
            found.append(Fields(row, f"{self._path}{name}[{index}]."))
        return found


def read_moment(value: object) -> datetime | None:
    """`value` as an aware UTC time; None for what is no full ISO 8601 date and time."""
    if not isinstance(value, str):
        return None
    text = value.strip()
    if len(text) < 19 or text[10] not in "T ":  # a bare date is no moment
        return None
    try:
        found = datetime.fromisoformat(text)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def read_address(value: str) -> str | None:
    """The one address in `Ana Ruiz <ana@example.com>` or in a bare text, lower case; None when there is none.

    In angle brackets the last one counts: a display name may hold anything, also brackets.
    """
    text = value.strip()
    if text.endswith(">"):
        text = text[text.rfind("<") + 1 : -1].strip()
    if len(text) <= LONGEST_ADDRESS and _ADDRESS.fullmatch(text):
        return text.lower()
    return None
