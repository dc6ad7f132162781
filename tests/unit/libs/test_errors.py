from __future__ import annotations

import inspect
import re

from libs import errors
from libs.errors import PlatformError


def classes_below(parent: type[PlatformError]) -> list[type[PlatformError]]:
    found = [kind for kind in parent.__subclasses__() if kind.__module__ == errors.__name__]
    return found + [kind for child in found for kind in classes_below(child)]


def written_tree() -> dict[str, str]:
    """Class name -> parent's name, as the module's docstring draws it."""
    parents: dict[str, str] = {}
    stack: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        drawn = re.match(r"(?P<branch>[│├└─ ]*)(?P<names>[A-Z][A-Za-z]+(, [A-Z][A-Za-z]+)*)( {2,}|$)", line)
        if not drawn or (not drawn["branch"] and drawn["names"] != "PlatformError"):
            continue
        depth = len(drawn["branch"])
        while stack and stack[-1][0] >= depth:
            stack.pop()
        for name in drawn["names"].split(", "):
            parents[name] = stack[-1][1] if stack else "Exception"
        stack.append((depth, drawn["names"].split(", ")[-1]))
    return parents


def test_the_tree_in_the_docstring_is_the_tree_of_classes() -> None:
    everything: list[type[PlatformError]] = [PlatformError, *classes_below(PlatformError)]
    defined = {kind.__name__: kind.__mro__[1].__name__ for kind in everything}

    assert written_tree() == defined
    public = {name for name, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__}
    assert set(defined) == public


def test_every_error_has_a_stable_word_of_its_own() -> None:
    codes = [kind.code for kind in classes_below(PlatformError) if kind is not errors.RequestError]

    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in codes)


def test_errors_carry_what_the_edges_need() -> None:
    assert errors.RateLimited("slow down", retry_after_seconds=3).retry_after_seconds == 3
    assert errors.TransientError("later").retry_after_seconds is None

    refused = errors.Invalid("no such day", code="bad_day", pointer="/day")
    assert (str(refused), refused.code, refused.pointer) == ("no such day", "bad_day", "/day")
    assert errors.Invalid("x").code == "invalid_request"
