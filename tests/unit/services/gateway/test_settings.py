from __future__ import annotations

import pytest

from libs.settings import BadSetting, Secrets
from services.gateway.settings import GatewaySettings


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("OUTRIDER_HOME", str(tmp_path))
    for name in ("KEY_PEPPER", "CONTEXT_PRIVATE_KEY", "PROVIDER_SYNC_URL"):
        monkeypatch.delenv(f"GATEWAY_{name}", raising=False)


def test_a_missing_secret_is_refused_with_the_thing_to_do():
    settings = GatewaySettings()

    with pytest.raises(BadSetting, match=r"outrider migrate.*GATEWAY_KEY_PEPPER"):
        settings.pepper()
    with pytest.raises(BadSetting, match="GATEWAY_CONTEXT_PRIVATE_KEY"):
        settings.private_key()


def test_the_environment_wins_over_the_file(monkeypatch):
    Secrets().ensure(["key_pepper"], make=lambda: "kept")
    assert GatewaySettings().pepper() == "kept"

    monkeypatch.setenv("GATEWAY_KEY_PEPPER", "given")
    assert GatewaySettings().pepper() == "given"
    assert "given" not in repr(GatewaySettings())


def test_sign_in_is_set_whole_over_a_safe_line_or_not_at_all():
    whole = {
        "oidc_issuer": "https://id.example.com/",
        "oidc_audiences": "a, b",
        "oidc_jwks_url": "https://id.example.com/k",
    }
    assert GatewaySettings().oidc is None
    oidc = GatewaySettings.model_validate(whole).oidc
    assert oidc is not None
    assert oidc.audiences == ("a", "b")
    for name in whole:
        with pytest.raises(BadSetting, match=name.upper()):
            _ = GatewaySettings.model_validate({**whole, name: None}).oidc
    with pytest.raises(BadSetting, match="https"):
        _ = GatewaySettings.model_validate({**whole, "oidc_jwks_url": "http://id.example.com/k"}).oidc


def test_owners_are_found_by_process_name(monkeypatch):
    monkeypatch.setenv("GATEWAY_PROVIDER_SYNC_URL", "http://provider-sync:8082/")

    owners = GatewaySettings().owners

    assert owners["provider-sync"] == "http://provider-sync:8082"
    assert owners["analytics"] == "http://127.0.0.1:8084"
    assert set(owners) == {"provider-sync", "analytics", "reconciliation", "webhook-ingest"}
