"""How a failure is described: without payload, and alike for alike causes."""

from __future__ import annotations

import hashlib
import traceback
from pathlib import Path

from libs.messaging.consumer import error_class
from libs.observability.reasons import reason_of

__all__ = ["fingerprint", "frames_of", "reason_of"]

_ROOT = Path(__file__).resolve().parents[2]


def frames_of(error: BaseException) -> list[str]:
    """Our own frames, innermost last, as `file:function`: line numbers change with every edit, causes do not."""
    frames = []
    for frame in traceback.extract_tb(error.__traceback__):
        path = Path(frame.filename)
        if path.is_relative_to(_ROOT) and ".venv" not in path.parts:
            frames.append(f"{path.relative_to(_ROOT)}:{frame.name}")
    return frames


def fingerprint(consumer: str, event_type: str, error: BaseException) -> str:
    """Equal for failures of one cause: consumer, event version, error class, templated message, our last three frames."""
    parts = [consumer, event_type, error_class(error), reason_of(error), *frames_of(error)[-3:]]
    return hashlib.sha256("\n".join(parts).encode("utf-8", "replace")).hexdigest()[:24]
