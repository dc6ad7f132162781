"""What became of each lead of a batch: said by the provider, clear from its counts, or to be found out by a look."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from libs.providers.records import Addition

REFUSED, UNDECIDED = "refused", "undecided"  # what an operation says of those who were not added
_UNSAID = "the provider did not say why"


def decided(keys: Sequence[str], answer: Mapping[str, Any] | None) -> dict[str, Addition]:
    """By key, of those of whom it is clear; `answer` is LeadsAdded as JSON, None when it was lost.

    Of a batch that is in the campaign whole, some of it from before, everybody counts as known: they may be anywhere by now.
    """
    if answer is None:
        return {}
    if not any(answer["refused"].values()) and answer["added"] + answer["known"] == len(keys):
        whole = Addition.KNOWN if answer["known"] else Addition.ADDED
        return dict.fromkeys(keys, whole) | _said(answer)
    return _said(answer)


def not_added(named: Mapping[str, str], channel: str, answer: Mapping[str, Any] | None) -> list[dict[str, str]]:
    """Who was refused, and who may have been. `named` is whom the caller named, by key."""
    clear = decided(list(named), answer)
    why = {one["key"]: one["reason"] for one in (answer or {}).get("leads") or () if one["reason"] is not None}
    if answer is None:
        unclear = "the provider's answer was lost"
    else:
        left = Counter(answer["refused"]) - Counter(why.values())  # of those whom the provider did not name
        unclear = " or ".join(sorted(left)) or _UNSAID
    return [
        entry(channel, address, REFUSED if key in clear else UNDECIDED, why.get(key, unclear))
        for key, address in named.items()
        if clear.get(key, Addition.REFUSED) is Addition.REFUSED
    ]


def entry(channel: str, address: str, outcome: str, reason: str) -> dict[str, str]:
    return {naming(channel): address, "outcome": outcome, "reason": reason}


def naming(channel: str) -> str:
    """By what callers name leads."""
    return "email" if channel == "email" else "profile_url"


def _said(answer: Mapping[str, Any]) -> dict[str, Addition]:
    return {one["key"]: Addition(one["outcome"]) for one in answer.get("leads") or ()}
