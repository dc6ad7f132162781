"""Pure decisions: no `await`, no session, no clock of its own."""
