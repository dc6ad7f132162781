from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import Field, TypeAdapter, ValidationError

from libs.web.numbers import WHOLE

ADAPTER: TypeAdapter[int] = TypeAdapter(Annotated[int, Field(le=2**62), WHOLE])


@pytest.mark.parametrize(("given", "read"), [(7, 7), (7.0, 7), (-0.0, 0), (2**62, 2**62), (1e3, 1000)])
def test_a_whole_number_may_be_written_with_a_point(given: Any, read: int) -> None:
    value = ADAPTER.validate_python(given)

    assert value == read
    assert type(value) is int


@pytest.mark.parametrize("given", [7.5, "7", True, None, float("nan"), float("inf"), [7], {}, 2**63])
def test_all_else_is_none(given: Any) -> None:
    with pytest.raises(ValidationError):
        ADAPTER.validate_python(given)


def test_documents_call_it_an_integer_within_its_limits() -> None:
    assert ADAPTER.json_schema() == {"type": "integer", "maximum": 2**62}
