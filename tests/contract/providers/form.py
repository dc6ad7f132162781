"""The JSON form of a Reading in the corpus: every field that states something, nothing that does not.

None, empty tuples, `channel: email` and `recognized: true` are left out; times are RFC 3339 with six digits.
"""

from __future__ import annotations

import dataclasses
from datetime import datetime
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
    if isinstance(value, tuple):
        return [as_json(item) for item in value]
    return value


def facts(reading: Reading) -> object:
    form = as_json(reading)
    assert isinstance(form, dict)
    if form["recognized"]:
        del form["recognized"]
    return form
