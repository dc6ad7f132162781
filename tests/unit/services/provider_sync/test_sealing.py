"""Sealed secrets open for their own row and key only, and show themselves to nobody."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr

from libs.ids import OrgId
from libs.settings import BadSetting
from services.provider_sync.sealing import SealBroken, Sealer
from services.provider_sync.settings import ProviderSyncSettings

KEY = "11" * 32
ROW, ORG = UUID(int=1), OrgId(UUID(int=2))
PLACE: dict[str, Any] = {"table": "accounts", "row_id": ROW, "org_id": ORG}


def test_what_was_sealed_opens():
    sealer = Sealer(KEY)

    assert sealer.open(sealer.seal("secret ü", **PLACE), **PLACE) == "secret ü"


def test_no_two_seals_are_alike_and_none_shows_the_secret():
    sealer = Sealer(KEY)

    one, other = sealer.seal("secret", **PLACE), sealer.seal("secret", **PLACE)

    assert one != other
    assert b"secret" not in one


@pytest.mark.parametrize(
    "elsewhere",
    [{"table": "endpoints"}, {"row_id": UUID(int=3)}, {"org_id": OrgId(UUID(int=3))}],
)
def test_moved_to_another_place_it_does_not_open(elsewhere):
    sealed = Sealer(KEY).seal("secret", **PLACE)

    with pytest.raises(SealBroken):
        Sealer(KEY).open(sealed, **(PLACE | elsewhere))


@pytest.mark.parametrize("spoil", [lambda b: b[:-1], lambda b: b"\x02" + b[1:], lambda b: b"", lambda b: b[:20]])
def test_spoilt_bytes_do_not_open(spoil):
    sealed = Sealer(KEY).seal("secret", **PLACE)

    with pytest.raises(SealBroken):
        Sealer(KEY).open(spoil(sealed), **PLACE)


def test_another_key_does_not_open_it():
    sealed = Sealer(KEY).seal("secret", **PLACE)

    with pytest.raises(SealBroken) as refused:
        Sealer("22" * 32).open(sealed, **PLACE)
    assert "secret of accounts" in str(refused.value)


@pytest.mark.parametrize("key", ["", "11" * 31, "zz" * 32])
def test_a_malformed_key_is_refused_at_start(key):
    with pytest.raises(BadSetting):
        Sealer(key)


def test_keys_are_in_no_repr():
    settings = ProviderSyncSettings(credential_key=SecretStr(KEY), cursor_key=SecretStr("cursor-secret"))

    assert KEY not in repr(settings) + repr(Sealer(KEY)) + str(settings)
    assert "cursor-secret" not in repr(settings)
