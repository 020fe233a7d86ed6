"""What the topology does, one module per subject; every function is one transaction."""
