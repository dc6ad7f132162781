"""The arguments and answers of writes as JSON, so that they can be kept as rows and read by another process.

The capabilities' own signatures are the schema: what a method takes and answers is what is written and read.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, get_type_hints

from pydantic import TypeAdapter

from libs.providers.effects import WRITES


@cache
def _adapters(operation: str) -> Mapping[str, TypeAdapter[Any]]:
    hints = get_type_hints(getattr(WRITES[operation], operation))
    return {name: TypeAdapter(hint) for name, hint in hints.items()}


def to_json(operation: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What `operation` is to be called with, by names, as values of JSON."""
    adapters = _adapters(operation)
    return {name: adapters[name].dump_python(value, mode="json") for name, value in arguments.items()}


def from_json(operation: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `to_json`."""
    adapters = _adapters(operation)
    return {name: adapters[name].validate_python(value) for name, value in arguments.items()}


def answer_to_json(operation: str, answer: Any) -> Any:
    """What `operation` answered, as a value of JSON."""
    return _adapters(operation)["return"].dump_python(answer, mode="json")
