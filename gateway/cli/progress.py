"""What command lines print while they work."""

import click


def say(line: str) -> None:
    """One line on stdout, at once, also in a pipe."""
    click.echo(line)
