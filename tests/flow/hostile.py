"""Bodies that no provider should post, made from the corpora of all, and what an honest reading lets each become."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from itertools import cycle
from typing import Any

from libs.errors import ContractViolated
from libs.providers.capabilities import CampaignPulls, Pulls
from libs.providers.fields import read_moment
from libs.providers.registry import PROVIDERS
from libs.providers.sightings import Reading
from tests.contract.providers.test_corpus import CASES, RETYPED

# One value of every kind that JSON has, and those that fit a field's kind and yet no column, index or calendar.
ODD: tuple[object, ...] = (
    ...,  # the field is not there
    *RETYPED,
    "\ud83d",  # half an emoji
    "9" * 20,
    "x" * 4000,  # over what a B-tree takes
    "someone@example.com",
    *(TIMES := ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "0999-06-01T00:00:00Z")),
    float("nan"),
    [[]] * 3,
)
REMOVED_OR_RETYPED: tuple[object, ...] = (..., *RETYPED)
_STRUCTURE = b'{}[]:,"\\'
_NESTED_SAMPLE = 4  # fields below the top level, of each payload
CUTS_SAMPLE = 15

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Hostile:
    """`body` was made from the file `name` in the corpus of `provider`; `how` tells what was done to it."""

    provider: str
    name: str
    how: str
    body: bytes

    def __str__(self) -> str:
        return f"{self.provider}/{self.name} {self.how}"


def read(provider: str, body: bytes) -> Reading | None:
    """What the provider's own reading says; None when it refuses. Anything else that it raises goes up."""
    try:
        return PROVIDERS[provider].webhooks.read_webhook(body)
    except ContractViolated:
        return None


def whole() -> Iterator[Hostile]:
    """Every file as it is, and once more in UTF-8 where that is another spelling."""
    for (provider, name), case in CASES.items():
        if "payload_base64" in case:
            yield Hostile(provider, name, "whole", base64.b64decode(case["payload_base64"]))
            continue
        yield Hostile(provider, name, "whole", _dumped(case["payload"]))
        try:
            plain = json.dumps(case["payload"], ensure_ascii=False).encode()
        except UnicodeEncodeError:  # half an emoji has no UTF-8
            continue
        if plain != _dumped(case["payload"]):
            yield Hostile(provider, name, "whole in UTF-8", plain)


def cut(source: Hostile, sizes: Iterable[int]) -> Iterator[Hostile]:
    for size in sizes:
        yield Hostile(source.provider, source.name, f"{source.how} cut to {size}", source.body[:size])


def telling_sizes(body: bytes) -> Sequence[int]:
    """Where a cut says most: at nothing, at the last byte, around structure, within an escape or a character."""
    edges = {index + step for index, byte in enumerate(body) if byte in _STRUCTURE or byte > 127 for step in (0, 1)}
    inner = sorted(edges - {0, len(body)})
    picked = inner[:: max(1, len(inner) // (CUTS_SAMPLE - 3))][: CUTS_SAMPLE - 3]
    return sorted({size for size in (0, 1, *picked, len(body) - 1) if 0 <= size < len(body)})


def odd_everywhere(provider: str, name: str, values: Sequence[object] = ODD) -> Iterator[Hostile]:
    """Each field at each depth with each of the values; `...` leaves it out."""
    for path in _paths(CASES[provider, name].get("payload")):
        for value in values:
            yield _odd(provider, name, path, value)


def odd_sampled() -> Iterator[Hostile]:
    """Each field at the top once, and some below; the values take turns, so that every field meets many somewhere. For a
    time an odd one is the hardest to tell, so each has its turn with those."""
    values, times = cycle(ODD), cycle(TIMES)
    for (provider, name), case in CASES.items():
        paths = _paths(case.get("payload"))
        nested = [path for path in paths if len(path) > 1]
        for path in [path for path in paths if len(path) == 1] + nested[:: max(1, len(nested) // _NESTED_SAMPLE)]:
            yield _odd(provider, name, path, next(values))
        for path in paths:
            if read_moment(_at(case["payload"], path)) is not None:
                yield _odd(provider, name, path, next(times))


def entities(provider: str, reading: Reading, account: object) -> set[tuple[str, str]]:
    """(table, natural key) of every row of provider_sync that the reading speaks of, stubs included."""
    found = {("campaigns", one.external_id) for one in reading.campaigns} | {
        ("leads", one.key) for one in reading.leads
    }
    for step in reading.steps:
        found |= _referred(None, step.campaign_external_id)
        found.add(("sequence_steps", f"{step.campaign_external_id}:{step.number}"))
    for thread in reading.conversations:
        found |= _referred(thread.lead_key, thread.campaign_external_id) | {("conversations", thread.key)}
    for message in reading.messages:
        found |= _referred(message.lead_key, message.campaign_external_id)
        found |= {("messages", message.key), ("conversations", message.conversation_key)}
    for engagement in reading.engagements:
        found |= _referred(engagement.lead_key, engagement.campaign_external_id) | {("engagements", engagement.key)}
        if engagement.message_key is not None:
            found.add(("messages", engagement.message_key))
    for wish in reading.read_backs:
        is_campaign = wish.kind == "campaign"
        campaign, lead = (wish.external_id, "") if is_campaign else (wish.campaign_external_id, wish.external_id)
        if campaign is not None and PROVIDERS[provider].offers(CampaignPulls if is_campaign else Pulls):
            found.add(("sync_jobs", f"read_back:{account}:{campaign}:{lead}"))
        else:
            found.add(("unknown_webhooks", reading.event_type))
    return found if reading.recognized else found | {("unknown_webhooks", reading.event_type)}


def _referred(lead: str | None, campaign: str | None) -> set[tuple[str, str]]:
    return {(table, key) for table, key in (("leads", lead), ("campaigns", campaign)) if key is not None}


def texts(value: object) -> Iterator[str]:
    """All text in a reading."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from texts(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from (*texts(key), *texts(item))
    elif is_dataclass(value):
        for one in fields(value):
            yield from texts(getattr(value, one.name))


def _paths(value: object, above: Path = ()) -> list[Path]:
    named = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path for key, item in named for path in [(*above, key), *_paths(item, (*above, key))]]


def _at(payload: Any, path: Path) -> Any:
    for part in path:
        payload = payload[part]
    return payload


def _odd(provider: str, name: str, path: Path, value: object) -> Hostile:
    payload = copy.deepcopy(CASES[provider, name]["payload"])
    inner = _at(payload, path[:-1])
    if value is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    how = "absent" if value is ... else f"is {str(value)[:30]!r}"
    return Hostile(provider, name, f"{'.'.join(map(str, path))} {how}", _dumped(payload))


def _dumped(payload: object) -> bytes:
    return json.dumps(payload).encode()
