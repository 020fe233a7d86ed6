"""How the agent touches its node: one port, with a local and a simulated implementation."""
