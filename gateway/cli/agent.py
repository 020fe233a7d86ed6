"""`brickyard agent`: agents of storage nodes."""

import click


@click.group()
def agent() -> None:
    """Agents of storage nodes."""
