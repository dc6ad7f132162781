from __future__ import annotations

import re
from uuid import uuid4

import pytest

from services.gateway import keys
from services.gateway.keys import Peppers


def test_a_key_has_the_agreed_shape_and_reads_back():
    key_id = uuid4()
    text, secret = keys.make(key_id)

    assert re.fullmatch(rf"otr_live_{key_id.hex}_[0-9A-Za-z]{{43}}[0-9A-Za-z]{{6}}", text)
    presented = keys.parse(text)
    assert presented is not None
    assert (presented.id, presented.secret) == (key_id, secret)


def test_no_two_keys_are_alike():
    key_id = uuid4()
    assert len({keys.make(key_id)[1] for _ in range(100)}) == 100


def test_any_changed_character_is_noticed():
    text, _ = keys.make(uuid4())
    for position in range(len(text)):
        other = "0" if text[position] != "0" else "1"
        assert keys.parse(text[:position] + other + text[position + 1 :]) is None, position


@pytest.mark.parametrize("text", ["", "otr_live_", "otr_live_é", "x" * 10_000, "otr_live_" + "0" * 32 + "_" + "a" * 49])
def test_what_is_no_key_is_none(text):
    assert keys.parse(text) is None


def test_the_whole_text_must_be_the_key():
    text, _ = keys.make(uuid4())
    for changed in (text + "\n", " " + text, text + "x", text.upper()):
        assert keys.parse(changed) is None


def test_a_hash_depends_on_pepper_id_and_secret():
    first, second = uuid4(), uuid4()
    peppers = Peppers("one,two")
    hashes = {
        peppers.mac(version, key_id, secret)
        for version in (1, 2)
        for key_id in (first, second)
        for secret in ("a", "b")
    }

    assert len(hashes) == 8
    assert all(len(one) == 32 for one in hashes)
    assert peppers.mac(1, first, "a") == Peppers("one").mac(1, first, "a")


def test_a_pepper_that_is_gone_fits_nothing():
    key_id = uuid4()
    peppers = Peppers("one")
    for version in (0, -1, 2):
        assert peppers.mac(version, key_id, "a") != peppers.mac(version, key_id, "a")


def test_the_oldest_pepper_may_go_when_the_next_says_its_version():
    key_id = uuid4()
    left = Peppers("2:two, three")
    assert left.newest == 3
    for version in (2, 3):
        assert left.mac(version, key_id, "a") == Peppers("one,two,three").mac(version, key_id, "a")
    assert left.mac(1, key_id, "a") != left.mac(1, key_id, "a")
    for listed in ("2:two,1:one", "2:two,2:two"):
        with pytest.raises(ValueError, match="rise"):
            Peppers(listed)


@pytest.mark.parametrize("listed", ["", "one,", ",one", "one,,two", "2:"])
def test_an_empty_pepper_is_refused(listed):
    with pytest.raises(ValueError, match="empty"):
        Peppers(listed)
