"""The agent on every storage node."""
