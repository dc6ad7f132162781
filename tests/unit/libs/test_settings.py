from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict

from libs.database.names import login_role
from libs.settings import BadSetting, Secrets, ServiceSettings, with_login


class GatewaySettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="GATEWAY_", extra="ignore", populate_by_name=True)


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No setting of ours in the environment, and a state folder of this test's own."""
    for name in (
        "DATABASE_URL OUTRIDER_DATABASE_ADDRESS AMQP_URL GATEWAY_DATABASE_URL GATEWAY_PORT OTEL_EXPORTER_OTLP_ENDPOINT "
        "OUTRIDER_CONTEXT_PUBLIC_KEYS OUTRIDER_TRACE_RATIO OUTRIDER_LOG_LEVEL OUTRIDER_LEDGER_FOLD_SECONDS"
    ).split():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OUTRIDER_HOME", str(tmp_path))
    return tmp_path


def test_secrets_are_kept_for_their_owner_alone(tmp_path: Path) -> None:
    made = Secrets(tmp_path).ensure(["one", "two"])

    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600
    assert len(set(made.values())) == 2
    assert json.loads((tmp_path / "secrets.json").read_text()) == made


def test_what_is_kept_is_not_made_again(tmp_path: Path) -> None:
    first = Secrets(tmp_path).ensure(["one"])
    before = (tmp_path / "secrets.json").stat().st_mtime_ns

    assert Secrets(tmp_path).ensure(["one"]) == first
    assert (tmp_path / "secrets.json").stat().st_mtime_ns == before
    assert Secrets(tmp_path).ensure(["one", "two"])["one"] == first["one"]


def test_writing_over_a_file_that_others_may_read_closes_it(tmp_path: Path) -> None:
    (tmp_path / "secrets.json").write_text('{"one": "1"}')
    (tmp_path / "secrets.json").chmod(0o644)

    Secrets(tmp_path).set("two", "2")

    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600
    assert (Secrets(tmp_path).get("one"), Secrets(tmp_path).get("three")) == ("1", None)


def test_a_leftover_of_a_crash_does_not_widen_the_file(tmp_path: Path) -> None:
    (tmp_path / "secrets.new").write_text("{}")
    (tmp_path / "secrets.new").chmod(0o644)

    Secrets(tmp_path).set("one", "1")

    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("postgresql://db:5432/house", "postgresql://me:p%40%2Fss@db:5432/house"),
        (
            "postgresql://admin:x@db:5432/house?sslmode=require",
            "postgresql://me:p%40%2Fss@db:5432/house?sslmode=require",
        ),
        ("postgresql://[::1]:5432/house", "postgresql://me:p%40%2Fss@[::1]:5432/house"),
    ],
)
def test_a_login_replaces_the_one_in_the_address(address: str, expected: str) -> None:
    assert with_login(address, "me", "p@/ss") == expected


def test_a_given_url_wins_over_what_could_be_derived(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://admin:x@db/house")
    monkeypatch.setenv("GATEWAY_DATABASE_URL", "postgresql://mine:own@elsewhere/gw")
    Secrets().set("role:house_gateway", "made")

    assert GatewaySettings().url_of("gateway", role_of=login_role) == "postgresql://mine:own@elsewhere/gw"


def test_a_url_is_derived_from_the_address_and_the_password_that_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    Secrets().set("role:house_gateway", "made")
    monkeypatch.setenv("DATABASE_URL", "postgresql://admin:x@db/house")

    assert GatewaySettings().url_of("gateway", role_of=login_role) == "postgresql://house_gateway:made@db/house"


def test_the_environments_address_wins_over_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    Secrets().set("database_address", "postgresql://filed/house")
    Secrets().set("role:house_gateway", "made")
    assert "@filed/" in GatewaySettings().url_of("gateway", role_of=login_role)

    monkeypatch.setenv("OUTRIDER_DATABASE_ADDRESS", "postgresql://given/house")
    assert "@given/" in GatewaySettings().url_of("gateway", role_of=login_role)


def test_no_database_is_said_in_one_line_with_what_to_do() -> None:
    with pytest.raises(BadSetting, match="set GATEWAY_DATABASE_URL or DATABASE_URL") as refused:
        GatewaySettings().url_of("gateway", role_of=login_role)
    assert "\n" not in str(refused.value)


def test_no_password_is_said_in_one_line_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://admin:hidden@db/house")

    with pytest.raises(BadSetting, match="no password is known for house_gateway: run `outrider migrate`") as refused:
        GatewaySettings().url_of("gateway", role_of=login_role)
    assert "hidden" not in str(refused.value)


def test_keys_are_given_or_made_or_their_absence_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadSetting, match="OUTRIDER_CONTEXT_PUBLIC_KEYS"):
        GatewaySettings().verify_keys()

    Secrets().set("context_public_key", "aa")
    assert GatewaySettings().verify_keys() == ["aa"]

    monkeypatch.setenv("OUTRIDER_CONTEXT_PUBLIC_KEYS", "bb, cc,")
    assert GatewaySettings().verify_keys() == ["bb", "cc"]


def test_settings_show_no_secret() -> None:
    settings = GatewaySettings(
        database_url=SecretStr("postgresql://me:hidden@db/x"), amqp_url=SecretStr("amqp://me:hidden@q")
    )

    assert "hidden" not in repr(settings)
    assert "hidden" not in settings.model_dump_json()


@pytest.mark.parametrize(
    ("name", "value"),
    [("OUTRIDER_TRACE_RATIO", "2.5"), ("OUTRIDER_LEDGER_FOLD_SECONDS", "-7"), ("GATEWAY_PORT", "s3cret")],
)
def test_a_setting_that_cannot_be_is_refused_at_start(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(BadSetting, match=name) as refused:
        GatewaySettings()

    assert value not in str(refused.value).removeprefix(name)
