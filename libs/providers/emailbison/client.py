"""EmailBison's API as capabilities: all that docs/providers.md lists for it."""

from __future__ import annotations

from libs.providers.emailbison.figures import FigureCalls
from libs.providers.emailbison.inbox_calls import InboxCalls
from libs.providers.emailbison.webhook_calls import WebhookCalls

__all__ = ["VENDORS_OWN_URL", "EmailBisonClient"]

VENDORS_OWN_URL = "https://dedi.emailbison.com"  # one instance of many; white labels have hosts of their own


class EmailBisonClient(InboxCalls, WebhookCalls, FigureCalls):
    """One account: one workspace of one instance. Each part's docstring names the capabilities that it implements."""
