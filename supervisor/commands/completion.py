"""``supervisor completion SHELL``: what a shell needs to complete our words."""

from typing import Final

import click

from supervisor.report.text.output import print_line

VARIABLE: Final = "_SUPERVISOR_COMPLETE"
SHELLS: Final = ("bash", "zsh", "fish")


@click.command("completion", short_help="Print what lets a shell complete.")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(ctx: click.Context, shell: str) -> int:
    """Print a script for SHELL: verbs, options, pipelines, runs, stages and files are completed.

    bash: eval "$(supervisor completion bash)" in ~/.bashrc. zsh: the same in ~/.zshrc, behind
    compinit. fish: supervisor completion fish > ~/.config/fish/completions/supervisor.fish

    Example: supervisor completion bash
    """
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    if made is None:
        raise RuntimeError(f"click completes no {shell}")
    print_line(made(ctx.find_root().command, {}, "supervisor", VARIABLE).source())
    return 0
