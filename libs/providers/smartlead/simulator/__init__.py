"""A Smartlead that runs offline: it plays outreach, posts the webhooks, answers the API and keeps the books.

It does what docs/providers/smartlead.md says, no field more; who it writes to was invented.
"""

from libs.providers.smartlead.simulator.api import smartlead_app
from libs.providers.smartlead.simulator.journal import Expected, Happened, Journal, Totals
from libs.providers.smartlead.simulator.simulator import SmartleadSimulator

__all__ = ["Expected", "Happened", "Journal", "SmartleadSimulator", "Totals", "smartlead_app"]
