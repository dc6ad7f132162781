"""`outrider simulate`: the simulated providers as servers, for whoever wants to call them, and a way to move their world."""
