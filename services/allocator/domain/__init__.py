"""Pure placement: sizing, constraints, strategies and reasons."""
