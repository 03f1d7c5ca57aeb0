"""``keyiso completion``: commands, options, key names and files in a shell."""

from typing import Final

import click
from click.shell_completion import ShellComplete, get_completion_class

from keyiso.cli._completion import VARIABLE

_SHELLS: Final = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print a script that has SHELL complete commands, options, names of keys, and files.

    \b
    bash: echo 'source <(keyiso completion bash)' >> ~/.bashrc
    zsh:  echo 'source <(keyiso completion zsh)' >> ~/.zshrc, after compinit
    fish: keyiso completion fish > ~/.config/fish/completions/keyiso.fish

    Completing starts nothing: names of keys come from a keyiso that runs.
    """
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 (click knows these three)
    script = kind(context.find_root().command, {}, "keyiso", VARIABLE)
    click.echo(ShellComplete.source(script), nl=False)  # bash's own also looks for bash
