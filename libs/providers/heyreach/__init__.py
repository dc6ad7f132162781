"""HeyReach: LinkedIn campaigns. What it really does is told in docs/providers/heyreach.md."""
