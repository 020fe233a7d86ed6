"""`brickyard completion`: what makes the shell complete commands and flags."""

import click
from click.shell_completion import get_completion_class

_PROGRAM = "brickyard"


@click.command(
    epilog="""\b
Examples:
  eval "$(brickyard completion bash)"                                  # in ~/.bashrc
  eval "$(brickyard completion zsh)"                                   # in ~/.zshrc
  brickyard completion fish > ~/.config/fish/completions/brickyard.fish
"""
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Prints the script that makes SHELL complete commands and flags of brickyard."""
    made = get_completion_class(shell)
    assert made is not None  # noqa: S101 - click knows the three
    click.echo(made(context.find_root().command, {}, _PROGRAM, "_BRICKYARD_COMPLETE").source())
