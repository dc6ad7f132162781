"""Writes whose answers are lost: what each provider needs for one, and how it is looked for afterwards."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from libs.providers.effects import Effect, Evidence


@dataclass
class Case:
    """A write: its arguments, and where the one call goes that changes something. `is_new`: what it made has an id."""

    arguments: Mapping[str, Any]
    path: str
    is_new: bool = False


@dataclass(frozen=True, kw_only=True)
class Effectful:
    """`set` opens the provider's stage, with all that it tells late if asked for; `prepare` makes what must be there
    before an operation. `unclear`: operations whose outcome nothing shows; that is said, and not guessed."""

    effects: Mapping[str, Effect]
    set: Callable[[bool], AbstractAsyncContextManager[Any]]
    prepare: Callable[[Any, str], Awaitable[Case]]
    is_write: Callable[[str], bool]
    unclear: Collection[str] = ()

    @property
    def looked_for(self) -> list[str]:
        return [name for name, effect in self.effects.items() if effect.read_back is not None]

    async def look(self, stage: Any, operation: str, case: Case, *, waits: bool = False) -> Evidence:
        """What is seen of a write of now; `waits` as long as the operation says that a look takes to mean anything."""
        effect, sent_at, before = self.effects[operation], stage.simulator.now, len(stage.app.calls)
        if waits:
            stage.simulator.advance(timedelta(seconds=effect.read_back_after_seconds))
        assert effect.read_back is not None
        evidence = await effect.read_back(stage.client, case.arguments, sent_at)
        made = stage.app.calls[before:]
        assert made
        assert not any(map(self.is_write, made))  # a look changes nothing
        return evidence


async def write(stage: Any, operation: str, case: Case) -> None:
    act: Callable[..., Awaitable[object]] = getattr(stage.client, operation)
    await act(**case.arguments)
