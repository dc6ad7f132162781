"""Smartlead's API as capabilities: all that docs/providers.md lists for it."""

from __future__ import annotations

from libs.providers.smartlead.feeds import FeedCalls
from libs.providers.smartlead.figures import FigureCalls
from libs.providers.smartlead.webhook_calls import REGISTERED_TYPES, WebhookCalls

__all__ = ["BASE_URL", "REGISTERED_TYPES", "SmartleadClient"]

BASE_URL = "https://server.smartlead.ai/api/v1"


class SmartleadClient(FeedCalls, WebhookCalls, FigureCalls):
    """One account: one API key. Each part's docstring names the capabilities that it implements."""

    async def check_connection(self) -> None:
        """By the categories: no call is there for it, and this list is short and nobody's data."""
        await self.list_categories()
