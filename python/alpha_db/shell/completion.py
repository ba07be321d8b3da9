"""alpha-db completion."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from alpha_db.cli.common import debug_option

SHELLS = ("bash", "zsh", "fish")
_PROGRAM = "alpha-db"
#: What click looks at in main(): the program's name in capitals.
_VARIABLE = "_ALPHA_DB_COMPLETE"


@click.command(short_help="Print a script by which a shell completes commands and options.")
@click.argument("shell", type=click.Choice(SHELLS))
@debug_option
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a script that makes a shell complete commands, options and file names with the tab key.

    \b
    Examples:
      eval "$(alpha-db completion bash)"        # in ~/.bashrc
      eval "$(alpha-db completion zsh)"         # in ~/.zshrc, after compinit
      alpha-db completion fish > ~/.config/fish/completions/alpha-db.fish
    """
    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"this version of click has no completion for {shell}")
    completer = found(ctx.find_root().command, {}, _PROGRAM, _VARIABLE)
    # not source(), which looks for a bash of its own to warn of an old one
    click.echo(completer.source_template % completer.source_vars())
