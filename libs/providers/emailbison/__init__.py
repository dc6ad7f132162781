"""EmailBison: e-mail campaigns. What it really does is told in docs/providers/emailbison.md."""
