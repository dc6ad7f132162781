from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from libs.providers.heyreach import keys
from libs.providers.heyreach.profiles import profile_url, read_profile
from libs.providers.sightings import Direction

AT = datetime(2026, 9, 2, 7, 30, 0, 124000, tzinfo=UTC)


@pytest.mark.parametrize(
    "url",
    [
        "https://www.linkedin.com/in/ada-example-0001",
        "http://linkedin.com/in/ada-example-0001/",
        "https://no.linkedin.com/in/Ada-Example-0001?originalSubdomain=no",
        "www.linkedin.com/in/ada-example-0001//",
        " https://www.linkedin.com/in/ada-example-0001/#about ",
    ],
)
def test_a_person_is_one_person_however_the_profile_is_spelled(url: str) -> None:
    profile = read_profile(url)

    assert profile == "in/ada-example-0001"
    assert keys.lead(profile) == "linkedin:in/ada-example-0001"
    assert profile_url(profile) == "https://www.linkedin.com/in/ada-example-0001"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ada-example-0001",
        "https://www.linkedin.com/",
        "https://linkedin.com.example.com/in/ada",
        "https://notlinkedin.com/in/ada",
        "ftp://www.linkedin.com/in/ada",
        "https://www.linkedin.com/in/ada example",
    ],
)
def test_what_is_no_profile_is_none(url: str) -> None:
    assert read_profile(url) is None


@pytest.mark.parametrize(
    "text", ["Hi Ada,\nA & B", "Hi Ada,<br>A &amp; B", "<p>Hi Ada,</p><p>A&nbsp;&amp; B</p>", " Hi  Ada,\r\n\r\nA & B "]
)
def test_markup_and_spaces_make_no_other_message(text: str) -> None:
    assert keys.message("c", AT, Direction.OUTBOUND, text) == keys.message("c", AT, Direction.OUTBOUND, "Hi Ada, A & B")


def test_everything_else_does() -> None:
    zone = timezone(timedelta(hours=2))
    found = [
        keys.message("c", AT, Direction.OUTBOUND, "Hi"),
        keys.message("d", AT, Direction.OUTBOUND, "Hi"),
        keys.message("c", AT, Direction.INBOUND, "Hi"),
        keys.message("c", AT + timedelta(microseconds=1), Direction.OUTBOUND, "Hi"),
        keys.message("c", AT, Direction.OUTBOUND, "hi"),
        keys.message("c", AT, Direction.OUTBOUND, ""),
    ]

    assert len(set(found)) == len(found)
    assert keys.message("c", AT.astimezone(zone), Direction.OUTBOUND, "Hi") == found[0]
    assert {len(key) for key in found} == {68}


def test_keys_stay_short_enough_for_an_index() -> None:
    lead = keys.lead("in/" + "a" * 5000)

    assert len(keys.engagement("connection_accepted", "410233", lead, "90411", AT)) < 400
    assert len(keys.conversation("2-" + "x" * 5000)) < 100
