"""Natural keys of what HeyReach speaks of: equal whoever tells it, in whatever spelling."""

from __future__ import annotations

import hashlib
import html
import re
import unicodedata
from datetime import UTC, datetime, timedelta

from libs.clock import rfc3339
from libs.errors import Invalid
from libs.providers.keys import part
from libs.providers.sightings import Direction

_LEAD = "linkedin:"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")


def lead(profile: str) -> str:
    """By profile, see profiles.py."""
    return f"{_LEAD}{part(profile)}"


def profile_of(lead_key: str) -> str:
    """The profile in a lead's key.

    Raises:
        Invalid: it names no lead of HeyReach's, or one whose profile is too long to be in its key.
    """
    profile = lead_key.removeprefix(_LEAD)
    if profile == lead_key or not profile or profile.startswith("sha256-"):
        raise Invalid(
            "this names no lead of HeyReach's: its leads are known by their LinkedIn profile", pointer="/lead"
        )
    return profile


def conversation(conversation_id: str) -> str:
    return part(conversation_id)


def message(conversation_id: str, at: datetime, direction: Direction, text: str) -> str:
    """HeyReach has no message ids, so a message is who wrote what when and where. Two of one text in one microsecond
    are one: nobody could tell them apart."""
    microseconds = (at - _EPOCH) // timedelta(microseconds=1)  # instants, not texts: `.31Z` is `.310Z`
    parts = (conversation_id, str(microseconds), direction.value, bare(text))
    return "msg:" + hashlib.sha256("\x1f".join(parts).encode()).hexdigest()


def bare(text: str) -> str:
    """`text` without what differs from channel to channel: line breaks as \\n or <br>, entities, spaces, accents' forms.

    Place, instant and author all but name the message, so it costs nothing to be generous here.
    """
    return "".join(unicodedata.normalize("NFC", _TAG.sub("", html.unescape(text))).split())


def engagement(what: str, campaign: str | None, lead_key: str, sender: str | None, at: datetime | None = None) -> str:
    """`at` where the same may happen again between the same two."""
    parts = [what, campaign or "-", lead_key, sender or "-"]
    return ":".join(parts if at is None else [*parts, rfc3339(at)])
