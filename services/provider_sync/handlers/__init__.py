"""What the service does, a file per subject. Handlers read, decide, keep and tell; the edges commit, and call providers."""
