"""An EmailBison that runs offline: it plays outreach, posts the webhooks, answers the API and keeps the books.

It does what docs/providers/emailbison.md says, no field more; who it writes to was invented.
"""

from libs.providers.emailbison.simulator.api import emailbison_app
from libs.providers.emailbison.simulator.simulator import EmailBisonSimulator
from libs.providers.mail_journal import Expected, Happened, Journal, Totals

__all__ = ["EmailBisonSimulator", "Expected", "Happened", "Journal", "Totals", "emailbison_app"]
