"""What provider_sync can be told, and what it must know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from libs.outbound.addresses import AddressRefused, check_url
from libs.providers.registry import Provider
from libs.providers.tool_servers import ToolServer
from libs.settings import BadSetting, Secrets, ServiceSettings
from services.provider_sync.key_ring import KeyRing

_MOST_CALLS = 1_000_000


class ProviderSyncSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="PROVIDER_SYNC_", extra="ignore", populate_by_name=True)

    # 32 bytes as hex each, joined by commas, oldest first: the last wraps the orgs' data keys. The singular, from when
    # there was one, is the oldest of all.
    credential_keys: SecretStr | None = None
    credential_key: SecretStr | None = None
    cursor_key: SecretStr | None = None
    # Where the door is reached from outside; providers are told addresses below it.
    public_webhook_url: str = "http://127.0.0.1:8081"
    # For simulators: accounts' `base_url` may name this machine. Otherwise only public addresses are ever called.
    allow_loopback: bool = False
    # What one account may ask of its provider, where it is not what the provider's own page says: smartlead=200,heyreach=60
    calls_per_minute: str = ""
    # How often an account is read without being asked, and how often all of it; 0: only when somebody asks. The first
    # reading comes so long after the account was opened.
    sync_every_seconds: float = Field(900, ge=0)
    sync_full_every_seconds: float = Field(7 * 24 * 3600, gt=0)
    # The vendor's MCP server, which the test of an EmailBison account asks for its tools; empty: it is not asked.
    emailbison_mcp_url: str | None = None
    # How often each registered webhook is looked at, whether its provider still has it; 0: only when somebody asks.
    verify_webhooks_every_seconds: float = Field(21_600, ge=0)
    jobs_at_once: int = Field(8, gt=0)
    poll_seconds: float = Field(0.5, gt=0)

    def key_ring(self) -> KeyRing:
        """The wrapping keys; an empty ring when none is set and none was made.

        Raises:
            BadSetting: one is malformed.
        """
        given = [one.get_secret_value() for one in (self.credential_key, self.credential_keys) if one is not None]
        if not any(given):
            secrets = Secrets()
            given = [secrets.get("credential_key") or "", secrets.get("credential_keys") or ""]
        return KeyRing([key.strip() for key in ",".join(given).split(",") if key.strip()])

    def may_call_loopback(self) -> bool:
        """Raises: BadSetting in production: there, whoever opens accounts could make us call our own machine."""
        if self.allow_loopback and self.environment == "production":
            raise BadSetting(
                "PROVIDER_SYNC_ALLOW_LOOPBACK is for simulators on one's own machine: take it away, or set "
                "OUTRIDER_ENVIRONMENT to development"
            )
        return self.allow_loopback

    def providers(self, known: Mapping[str, Provider]) -> Mapping[str, Provider]:
        """`known`, with the rates that are set and the MCP server that is to be asked.

        Raises:
            BadSetting: a provider that is not known, a rate that is no whole number from 1 on, an address that may not be
                called.
        """
        found = dict(known)
        for name, provider in known.items():
            if provider.tools is not None and self.emailbison_mcp_url is not None:
                found[name] = replace(provider, tools=self._tools(provider.tools, self.emailbison_mcp_url))
        for part in filter(None, (part.strip() for part in self.calls_per_minute.split(","))):
            name, _, rate = part.partition("=")
            if name not in known or not rate.isascii() or not rate.isdigit() or not 0 < int(rate) <= _MOST_CALLS:
                raise BadSetting(
                    f"PROVIDER_SYNC_CALLS_PER_MINUTE is name=calls, joined by commas; the names are {', '.join(known)}"
                )
            found[name] = replace(found[name], calls_per_minute=int(rate))
        return found

    def _tools(self, known: ToolServer, url: str) -> ToolServer | None:
        if not url:
            return None
        try:
            check_url(url, allow_loopback=self.allow_loopback)
        except AddressRefused as refusal:
            raise BadSetting(f"PROVIDER_SYNC_EMAILBISON_MCP_URL: {refusal}") from None
        return replace(known, url=url)

    def key_for_cursors(self) -> str:
        return _found(self.cursor_key, "cursor_key")


def _found(given: SecretStr | None, name: str) -> str:
    """Raises: BadSetting when the key is neither set nor made."""
    found = given.get_secret_value() if given is not None else Secrets().get(name)
    if not found:
        raise BadSetting(f"no {name}: run `outrider migrate`, or set PROVIDER_SYNC_{name.upper()}")
    return found
