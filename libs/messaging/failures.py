"""How a failure is described: without payload, and alike for alike causes."""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from libs.contracts.envelope import Envelope
from libs.messaging.consumer import error_class
from libs.observability.reasons import reason_of

__all__ = ["Facets", "facets_of", "fingerprint", "frames_of", "reason_of"]

_ROOT = Path(__file__).resolve().parents[2]


def frames_of(error: BaseException) -> list[str]:
    """Our own frames, innermost last, as `file:function`: line numbers change with every edit, causes do not."""
    frames = []
    for frame in traceback.extract_tb(error.__traceback__):
        path = Path(frame.filename)
        if path.is_relative_to(_ROOT) and ".venv" not in path.parts:
            frames.append(f"{path.relative_to(_ROOT)}:{frame.name}")
    return frames


def fingerprint(consumer: str, event_type: str, error: BaseException, provider: str | None = None) -> str:
    """Equal for failures of one cause: consumer, event version, provider, error class, templated message, our last three
    frames."""
    parts = [consumer, event_type, provider or "", error_class(error), reason_of(error), *frames_of(error)[-3:]]
    return hashlib.sha256("\n".join(parts).encode("utf-8", "replace")).hexdigest()[:24]


@dataclass(frozen=True, slots=True)
class Facets:
    """What a failed event is about, as far as the event itself says so: by this its kin are counted and chosen."""

    account_id: UUID | None
    provider: str | None
    campaign: str | None


def facets_of(envelope: Envelope) -> Facets:
    """Read from what may be anything: whatever is not what its name says is left out."""
    fields: Mapping[str, Any] = envelope.attributes if envelope.data is None else envelope.data
    named = {name.replace("_", ""): value for name, value in fields.items()}
    return Facets(
        account_id=_uuid(named.get("accountid")),
        provider=_word(named.get("provider")),
        campaign=_word(named.get("campaignid")) or _word(named.get("campaignexternalid")),
    )


def _uuid(value: Any) -> UUID | None:
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _word(value: Any) -> str | None:
    if not isinstance(value, str | int) or isinstance(value, bool):
        return None
    text = str(value)
    return text if text.isprintable() and 0 < len(text) <= 100 else None
