"""Which fields an answer has, as paths: `data[].lead.id`."""

from __future__ import annotations

from collections.abc import Iterator


def paths(value: object, path: str = "") -> Iterator[str]:
    """Of every single value, empty object and empty list."""
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from paths(item, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value:
        for item in value:
            yield from paths(item, f"{path}[]")
    else:
        yield path


def unknown(value: object, known: str) -> set[str]:
    """The fields of `value` that are not among `known` (paths between blanks; `name.*` may hold anything below).

    An object or list that is empty, or null, is fine where a longer path begins with it.
    """
    names = set(known.split())
    open_ended = tuple(name.removesuffix("*") for name in names if name.endswith(".*"))
    found = {path for path in paths(value) if path}
    return {
        path
        for path in found - names
        if not path.startswith(open_ended) and not any(name.startswith((f"{path}.", f"{path}[")) for name in names)
    }
