"""``supervisor completion``."""

from typing import Final

import click

from supervisor.report.text.output import print_line

VARIABLE: Final = "_SUPERVISOR_COMPLETE"
SHELLS: Final = ("bash", "zsh", "fish")


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(ctx: click.Context, shell: str) -> int:
    """Print a shell completion script.

    It completes commands, options, pipelines, runs, stages and files.

    bash: add to ~/.bashrc: eval "$(supervisor completion bash)"

    zsh: add to ~/.zshrc, after compinit: eval "$(supervisor completion zsh)"

    fish: add to ~/.config/fish/config.fish: supervisor completion fish | source

    Example: supervisor completion bash
    """
    from click.shell_completion import get_completion_class

    completion = get_completion_class(shell)
    if completion is None:
        raise RuntimeError(f"click completes no {shell}")
    print_line(completion(ctx.find_root().command, {}, "supervisor", VARIABLE).source())
    return 0
