from __future__ import annotations

from typing import Annotated

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import StringConstraints, TypeAdapter, ValidationError

from libs.web.texts import NAMED, TRIMMED, VISIBLE
from services.gateway.schemas import Email

NAMES: TypeAdapter[str] = TypeAdapter(Annotated[str, StringConstraints(max_length=20, pattern=NAMED), TRIMMED])
EMAILS: TypeAdapter[str] = TypeAdapter(Email)
LINES: TypeAdapter[str] = TypeAdapter(Annotated[str, StringConstraints(max_length=20, pattern=VISIBLE)])


@pytest.mark.parametrize("line", ["a\nb", "a\r", "\0", "a\x7f", "a\x85b", "\x9b31m", "a\u2028b", "\u2029"])
def test_a_line_is_one_and_nothing_in_it_is_invisible(line: str) -> None:
    for adapter in (NAMES, LINES):
        with pytest.raises(ValidationError):
            adapter.validate_python(line)


@pytest.mark.parametrize(
    ("given", "kept"), [(" Harbour Bakery ", "Harbour Bakery"), ("\u00a0é\u3000", "é"), ("名", "名")]
)
def test_a_name_is_trimmed(given: str, kept: str) -> None:
    assert NAMES.validate_python(given) == kept


@pytest.mark.parametrize("name", ["", " ", "\u00a0\u3000", " " * 10 + "a" + " " * 10])
def test_a_name_is_more_than_spaces_and_not_longer_than_it_may_be(name: str) -> None:
    with pytest.raises(ValidationError):
        NAMES.validate_python(name)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=25) | st.text(" \u00a0\x85\u2028a", max_size=25))
def test_documents_say_what_is_taken(text: str) -> None:
    for adapter in (NAMES, LINES):
        try:
            taken = bool(adapter.validate_python(text)) or adapter is LINES
        except ValidationError:
            taken = False
        assert taken == jsonschema_rs.is_valid(adapter.json_schema(), text), ascii(text)


@given(st.text(" \x1c\x85\u00a0\u2028\u3000\ufeff@a", max_size=6))
def test_documents_say_which_addresses_are_taken(text: str) -> None:
    try:
        EMAILS.validate_python(text)
        taken = True
    except ValidationError:
        taken = False
    assert taken == jsonschema_rs.is_valid(EMAILS.json_schema(), text), ascii(text)
