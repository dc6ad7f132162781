"""A HeyReach that runs offline: it plays outreach, posts the webhooks, answers the API and keeps the books.

It does what docs/providers/heyreach.md says, no field more; who it writes to was invented.
"""

from libs.providers.heyreach.simulator.api import heyreach_app
from libs.providers.heyreach.simulator.journal import Expected, Happened, Journal, Totals
from libs.providers.heyreach.simulator.simulator import HeyReachSimulator

__all__ = ["Expected", "Happened", "HeyReachSimulator", "Journal", "Totals", "heyreach_app"]
