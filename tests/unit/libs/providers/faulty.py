"""What a provider's methods are asked for when things go wrong, and what is special about it: a table for each provider."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from libs.providers.calls import CallPolicy
from libs.providers.simulation import FaultKind

# A client and the provider's stage -> the call, with arguments that work where nothing goes wrong.
Ask = Callable[[Any, Any], Awaitable[object]]


@dataclass(frozen=True, kw_only=True)
class Faulty:
    """`set` opens the provider's stage for such a test. `writing` are beginnings or parts of the calls that change
    something, each of which `is_write` knows.

    `answers`: (method, fault) where the fault is an answer after all; `own_answers` the same where only the writing call
    meets it. `calls_nobody`: methods that need no call. `looks_first`: writes that begin with a read. `untyped`: reads
    answered without a value. `endless`, `measured`: a few methods whose answers take for ever, or are large.
    `people` must be in no error, `refused` is in that of a revoked key, `secret` is the part of `key` that must not leak,
    `said` the errors that tell it, of which at least `least_errors` of all statuses are met by each method.
    """

    client: type[Any]
    url: str
    set: Callable[[], AbstractAsyncContextManager[Any]]
    reads: Mapping[str, Ask]
    writes: Mapping[str, Ask]
    is_write: Callable[[str], bool]
    writing: Collection[str]
    endless: Collection[str]
    measured: Collection[str]
    people: Collection[str]
    refused: str
    said: Collection[str]
    least_errors: int
    key: str = "secret-key-5a5a"
    secret: str = "secret-key"
    calls_nobody: Collection[str] = ()
    looks_first: Collection[str] = ()
    untyped: Collection[str] = ()
    answers: Callable[[str, FaultKind], bool] = lambda _, __: False
    own_answers: Callable[[str, FaultKind], bool] = lambda _, __: False

    @property
    def all(self) -> Mapping[str, Ask]:
        return {**self.reads, **self.writes}

    def written(self, stage: Any) -> list[str]:
        return [call for call in stage.app.calls if self.is_write(call)]

    def client_of(self, stage: Any, policy: CallPolicy) -> Any:
        return self.client(stage.simulator.api_key, self.url, stage.http, policy=policy)
