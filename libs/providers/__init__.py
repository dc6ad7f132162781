"""Outreach providers: each is a folder with its adapter and the simulator that proves it."""
