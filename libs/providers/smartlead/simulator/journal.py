"""Smartlead's book is that of every e-mail provider."""

from libs.providers.mail_journal import Expected, Happened, Journal, Note, Totals

__all__ = ["Expected", "Happened", "Journal", "Note", "Totals"]
