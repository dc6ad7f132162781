"""Calls a test function as pytest would: every parametrized case, its fixtures made for it. Here a test is a detector."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from types import ModuleType
from typing import Any

import pytest

Test = Callable[..., Any]


async def call(
    test: Test,
    given: Mapping[str, Any],
    more: Sequence[ModuleType] = (),
    only: Mapping[str, Sequence[Any]] | None = None,
) -> None:
    """Run all cases of `test`; raises what the first failing one raises.

    Arguments come from `given`, else from fixtures of the test's own module or of `more`. `only` narrows parameters:
    cases with another value are left out, as are heavy ones.
    """
    module = inspect.getmodule(inspect.unwrap(test))
    assert module is not None
    for case in _cases(test):
        if any(name in case and case[name] not in values for name, values in (only or {}).items()):
            continue
        async with AsyncExitStack() as stack:
            made = {**given, **case}
            for name in inspect.signature(test).parameters:
                await _provide(name, made, (module, *more), stack)
            outcome = test(**{name: made[name] for name in inspect.signature(test).parameters})
            if inspect.isawaitable(outcome):
                await outcome


def _cases(test: Test) -> Iterator[dict[str, Any]]:
    """One dict of arguments per case that is not heavy."""
    axes: list[list[dict[str, Any]]] = []
    for mark in getattr(test, "pytestmark", []):
        if mark.name != "parametrize":
            continue
        names = [name.strip() for name in mark.args[0].split(",")] if isinstance(mark.args[0], str) else mark.args[0]
        axis = []
        for value in mark.args[1]:
            marks: Any = getattr(value, "marks", ())
            values = value.values if hasattr(value, "marks") else (value if len(names) > 1 else (value,))
            if not any(one.name == "heavy" for one in marks):
                axis.append(dict(zip(names, values, strict=True)))
        axes.append(axis)
    for chosen in itertools.product(*axes):
        yield {name: value for part in chosen for name, value in part.items()}


async def _provide(name: str, made: dict[str, Any], modules: Sequence[ModuleType], stack: AsyncExitStack) -> None:
    if name in made:
        return
    if name == "monkeypatch":
        made[name] = stack.enter_context(pytest.MonkeyPatch.context())
        return
    fixture = next((vars(module)[name] for module in modules if name in vars(module)), None)
    assert fixture is not None, f"nothing here gives a test its {name}"
    function = inspect.unwrap(fixture)
    for needed in inspect.signature(function).parameters:
        await _provide(needed, made, modules, stack)
    arguments = {needed: made[needed] for needed in inspect.signature(function).parameters}
    if inspect.isasyncgenfunction(function):
        made[name] = await stack.enter_async_context(asynccontextmanager(function)(**arguments))
    elif inspect.isgeneratorfunction(function):
        made[name] = stack.enter_context(contextmanager(function)(**arguments))
    else:
        value = function(**arguments)
        made[name] = await value if inspect.isawaitable(value) else value
