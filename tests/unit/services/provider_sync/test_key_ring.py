"""The wrapping keys open what they wrapped, in its place, say which of them is missing, and show themselves to nobody."""

from __future__ import annotations

import json

import pytest
from pydantic import SecretStr

from libs.settings import BadSetting
from services.provider_sync.key_ring import KeyRing, KeysUnavailable, new_key
from services.provider_sync.settings import ProviderSyncSettings

OLD, NEW = "11" * 32, "22" * 32
DATA_KEY = b"d" * 32


def test_the_newest_key_wraps_and_older_ones_still_open():
    before = KeyRing([OLD]).wrap(DATA_KEY, bound_to=b"here")
    ring = KeyRing([OLD, NEW])

    assert ring.unwrap(*before, bound_to=b"here") == DATA_KEY
    assert ring.wrap(DATA_KEY, bound_to=b"here")[0] == KeyRing([NEW]).newest


def test_wrapped_for_another_place_or_by_another_key_it_does_not_open():
    ring = KeyRing([OLD, NEW])
    _, wrapped = ring.wrap(DATA_KEY, bound_to=b"here")

    assert ring.unwrap(ring.ids[1], wrapped, bound_to=b"there") is None
    assert ring.unwrap(ring.ids[0], wrapped, bound_to=b"here") is None
    assert ring.unwrap(ring.ids[1], wrapped[:-1], bound_to=b"here") is None
    assert ring.unwrap(ring.ids[1], b"", bound_to=b"here") is None


def test_a_key_that_is_missing_is_named_by_its_id():
    wrapped_by, wrapped = KeyRing([OLD]).wrap(DATA_KEY, bound_to=b"here")

    with pytest.raises(KeysUnavailable) as refused:
        KeyRing([NEW]).unwrap(wrapped_by, wrapped, bound_to=b"here")

    assert wrapped_by in str(refused.value)
    assert OLD not in str(refused.value)
    assert NEW not in str(refused.value)


def test_without_a_key_nothing_is_wrapped():
    with pytest.raises(KeysUnavailable, match="outrider migrate"):
        KeyRing([]).wrap(DATA_KEY, bound_to=b"here")


@pytest.mark.parametrize("key", ["", "11" * 31, "zz" * 32])
def test_a_malformed_key_is_refused_and_not_shown(key):
    with pytest.raises(BadSetting) as refused:
        KeyRing([OLD, key])

    assert "credential key 2 of 2" in str(refused.value)
    assert not key or key not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "in_file", "expected"),
    [
        ({}, {"credential_key": OLD}, [OLD]),
        ({}, {"credential_keys": f"{OLD},{NEW}"}, [OLD, NEW]),
        ({}, {"credential_keys": NEW, "credential_key": OLD}, [OLD, NEW]),
        ({"CREDENTIAL_KEY": OLD}, {"credential_keys": NEW}, [OLD]),
        ({"CREDENTIAL_KEYS": f"{OLD}, {NEW}"}, {}, [OLD, NEW]),
        ({"CREDENTIAL_KEYS": f"{OLD},{NEW}", "CREDENTIAL_KEY": OLD}, {}, [OLD, NEW]),
        ({}, {}, []),
    ],
)
def test_keys_are_where_they_were_and_where_they_are_now(monkeypatch, tmp_path, given, in_file, expected):
    monkeypatch.setenv("OUTRIDER_HOME", str(tmp_path))
    (tmp_path / "secrets.json").write_text(json.dumps(in_file))
    for name, value in given.items():
        monkeypatch.setenv(f"PROVIDER_SYNC_{name}", value)

    assert ProviderSyncSettings().key_ring().ids == KeyRing(expected).ids


def test_keys_are_in_no_repr():
    key = new_key()
    settings = ProviderSyncSettings(
        credential_key=SecretStr(OLD), credential_keys=SecretStr(key), cursor_key=SecretStr("cursor-secret")
    )
    ring = settings.key_ring()

    assert len(ring.ids) == 2
    for told in (repr(settings), str(settings), repr(ring), str(ring.ids)):
        assert key not in told
        assert OLD not in told
        assert "cursor-secret" not in told
