"""Puts an agent on a storage node over SSH, once. The agent itself needs no SSH."""
