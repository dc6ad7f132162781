"""EmailBison's API as capabilities: all that docs/providers.md lists for it."""

from __future__ import annotations

from collections.abc import Mapping

from libs.providers.emailbison.feeds import FeedCalls
from libs.providers.emailbison.figures import FigureCalls
from libs.providers.emailbison.webhook_calls import WebhookCalls
from libs.providers.tool_servers import ToolServer

__all__ = ["TOOLS", "VENDORS_OWN_URL", "EmailBisonClient"]

VENDORS_OWN_URL = "https://dedi.emailbison.com"  # one instance of many; white labels have hosts of their own


def _tool_headers(credentials: Mapping[str, str], base_url: str | None) -> Mapping[str, str]:
    """One server stands before all instances, so it must be told which one the token is of."""
    instance = (base_url or VENDORS_OWN_URL).rstrip("/").removesuffix("/api")
    return {"Authorization": f"Bearer {credentials['api_key']}", "Instance-URL": instance}


TOOLS = ToolServer("https://mcp.emailbison.com/mcp", _tool_headers)


class EmailBisonClient(FeedCalls, WebhookCalls, FigureCalls):
    """One account: one workspace of one instance. Each part's docstring names the capabilities that it implements."""

    async def check_connection(self) -> None:
        await self.read_workspace_id()
