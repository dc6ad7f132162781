from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.errors import NotFound
from libs.ids import PLATFORM_ORG, entity_id, minted_at, new_id, parse_public_id, public_id

ACCOUNT = UUID("0190a1b2-1111-7222-8333-444455556666")


def test_new_ids_are_version_7_and_sort_as_they_were_made() -> None:
    made = [new_id() for _ in range(1000)]

    assert {(identifier.version, identifier.variant) for identifier in made} == {(7, RFC_4122)}
    assert made == sorted(set(made))
    assert abs(minted_at(made[0]) - datetime.now(UTC)) < timedelta(seconds=10)


@given(key=st.text(), kind=st.sampled_from(["campaign", "lead"]))
def test_a_derived_id_is_version_8_and_always_the_same(key: str, kind: str) -> None:
    identifier = entity_id(ACCOUNT, kind, key)

    assert (identifier.version, identifier.variant) == (8, RFC_4122)
    assert identifier == entity_id(ACCOUNT, kind, key)


def test_a_derived_id_never_changes_over_releases() -> None:
    assert entity_id(ACCOUNT, "campaign", "4711") == UUID("ff0b0074-5a57-8ccd-81fb-a14d48ea98b3")


@given(
    st.sets(st.tuples(st.uuids(), st.sampled_from(["lead", "leads", "message"]), st.text()), min_size=2, max_size=20)
)
def test_different_entities_have_different_ids(entities: set[tuple[UUID, str, str]]) -> None:
    assert len({entity_id(*entity) for entity in entities}) == len(entities)


@given(prefix=st.sampled_from("org cmp key acc cam stp led cnv msg rec drf dlv dl".split()), identifier=st.uuids())
def test_a_public_id_comes_back(prefix: str, identifier: UUID) -> None:
    assert parse_public_id(prefix, public_id(prefix, identifier)) == identifier
    assert public_id(prefix, identifier).startswith(f"{prefix}_")


@given(st.text())
def test_any_other_text_is_not_found(text: str) -> None:
    with pytest.raises(NotFound):
        parse_public_id("cam", text)


KNOWN = UUID("45c2cee4-8f48-45dd-9042-f30211a482e5")


@pytest.mark.parametrize(
    "text",
    [
        public_id("led", KNOWN),
        f"cam_{KNOWN}",
        public_id("cam", KNOWN)[:-1],
        public_id("cam", KNOWN) + "0",
        "cam_" + "g" * 32,
        "cam_" + "٣" * 32,
        "cam_" + "0x" * 16,
        "cam_" + " " * 32,
    ],
)
def test_what_is_nearly_one_is_not_found_either(text: str) -> None:
    with pytest.raises(NotFound, match="there is no cam_ object"):
        parse_public_id("cam", text)


def test_the_platforms_org_is_all_zeros() -> None:
    assert public_id("org", PLATFORM_ORG) == "org_" + "0" * 32
