"""HeyReach's API as capabilities: all that docs/providers.md lists for it."""

from __future__ import annotations

from libs.providers.heyreach.feeds import FeedCalls
from libs.providers.heyreach.figures import FigureCalls
from libs.providers.heyreach.webhook_calls import NEEDED_TYPES, WebhookCalls

__all__ = ["BASE_URL", "NEEDED_TYPES", "HeyReachClient"]

BASE_URL = "https://api.heyreach.io/api/public"


class HeyReachClient(FeedCalls, FigureCalls, WebhookCalls):
    """One workspace: one API key. Each part's docstring names the capabilities that it implements.

    Neither Snapshots nor Pulls: no list of HeyReach's is the truth about messages. Its inbox names no campaign, no step and
    no message id, tells whole threads (also what people wrote by hand, also other campaigns'), lags by up to hours, and
    dates late arrivals back; a list of leads knows only their latest state. To compare with such a list, or to delete by
    it, would break what webhooks told right. Feeds add to those, and are read only where somebody chose so.
    """

    async def check_connection(self) -> None:
        await self._read("GET", "/auth/CheckApiKey")
