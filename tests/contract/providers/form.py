"""The JSON form of what adapters answer, for the corpora: every field that states something, nothing that does not.

None, empty tuples, `channel: email` and `recognized: true` are left out; times are RFC 3339 with six digits.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import datetime, time
from enum import Enum

from libs.clock import rfc3339
from libs.providers.sightings import Channel, Reading


def as_json(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        stated = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return {
            name: as_json(item)
            for name, item in stated.items()
            if item is not None and item != () and item is not Channel.EMAIL
        }
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, time):
        return value.isoformat("minutes")
    if isinstance(value, frozenset):
        return sorted(as_json(item) for item in value)  # type: ignore[type-var]
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if isinstance(value, Mapping):
        return {str(as_json(name)): as_json(item) for name, item in value.items()}
    return value


def facts(reading: Reading) -> object:
    form = as_json(reading)
    assert isinstance(form, dict)
    if form["recognized"]:
        del form["recognized"]
    return form
