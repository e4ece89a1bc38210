"""The command line: its verbs, and the boundary at which errors become exit statuses.

A verb's module is imported when it is called, so that ``status`` does not import what ``start``
needs.
"""

import contextlib
import gc
import importlib
import os
import sys
from typing import Any, Final

import click

from supervisor.config.suggest import near
from supervisor.errors import CANNOT_WRITE
from supervisor.report.text.output import print_error
from supervisor.report.text.std_streams import discard, open_streams
from supervisor.version import VERSION
from workers.records.typed_errors import TypedError

# The first line of each verb's help: listing them imports none.
SECTIONS: Final = {
    "Run": {
        "start": "Start the supervisor.",
        "run": "Run a pipeline or a command, and wait for it.",
        "submit": "Submit a run and print its id.",
        "retry": "Retry a run, reusing the stages that succeeded.",
    },
    "Inspect": {
        "status": "List active and recent runs, or show runs as trees.",
        "show": "Show the record of a run.",
        "logs": "Print the output of a run.",
        "events": "Print journal events as NDJSON.",
        "report": "Write a run or a task as an HTML page.",
        "wait": "Wait until runs have ended.",
    },
    "Control": {
        "cancel": "Cancel runs and wait until they have ended.",
        "pause": "Stop starting queued runs.",
        "resume": "Start queued runs again after a pause.",
        "drain": "Finish running runs, and start no queued ones.",
        "stop": "Stop the supervisor.",
    },
    "Configure": {
        "init": "Create a configuration for this project.",
        "validate": "Check the configuration.",
        "plan": "Show what a pipeline would run.",
        "schema": "Print the JSON Schema of a file.",
        "unit": "Print a systemd user unit.",
        "completion": "Print a shell completion script.",
    },
    "Maintain": {
        "doctor": "Check the machine and the root, and print fixes.",
        "verify": "Check every record for violations.",
        "repair": "Repair the records that 'verify' reports.",
        "gc": "Remove old runs.",
        "metrics": "Print metrics for Prometheus.",
    },
}
VERBS: Final = {verb: text for verbs in SECTIONS.values() for verb, text in verbs.items()}


COMPLETE: Final = "_SUPERVISOR_COMPLETE"  # set by the completion script


class LazyGroup(click.Group):
    """A group whose verbs are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs, in the order of SECTIONS."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one verb."""
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"supervisor.commands.{cmd_name}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Suggest the nearest verb for an unknown one."""
        if args and not args[0].startswith("-") and args[0] not in VERBS:
            guess = near(args[0], VERBS)
            hint = f"; did you mean {guess!r}?" if guess else ""
            ctx.fail(f"there is no command {args[0]!r}{hint}")
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """The matching verbs and the options of the group, without importing a verb."""
        from click.shell_completion import CompletionItem

        verbs = [CompletionItem(v, help=t) for v, t in VERBS.items() if v.startswith(incomplete)]
        return verbs + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs by section, without importing them."""
        longest = max(map(len, VERBS))
        for name, verbs in SECTIONS.items():
            with formatter.section(name):
                formatter.write_dl([(verb.ljust(longest), text) for verb, text in verbs.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="supervisor")
def root_command() -> None:
    """Run pipelines of commands, and never lose track of a run.

    A root is a directory with a configuration (config/) and the records of its runs (.runs/, out/).
    'supervisor init' creates a first configuration.

    Example: supervisor run -- pytest -q
    """


def main() -> None:
    """Run the command line and exit with its status (docs/reference/exit-codes.md)."""
    code = run(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # its reader is gone; Python's own flush at exit must not fail
            discard(stream)
    gc.freeze()  # spares the interpreter a last collection
    sys.exit(code)


def run(argv: list[str]) -> int:
    """Run the command line.

    Args:
        argv: the arguments after the program's name.

    Returns:
        The exit status.
    """
    open_streams()
    if COMPLETE in os.environ:
        return _complete(os.environ[COMPLETE])
    try:
        # Not click's main, which exits with 1 if the reader of stdout is gone.
        with root_command.make_context("supervisor", list(argv)) as context:
            code = root_command.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        with contextlib.suppress(OSError):
            sys.stderr.write(f"{error.format_message()}\n")
        return 2
    except click.ClickException as error:
        _complain(_usage_error(error))
        return 2
    except (click.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        return 141  # 128 + SIGPIPE, as a shell reports it
    except TypedError as error:
        _complain(str(error))
        return error.exit_code
    except OSError as error:
        _complain(f"{error.filename or 'the system'}: {error.strerror or error}")
        return CANNOT_WRITE
    except Exception:  # noqa: BLE001 - the boundary: a bug is reported
        import traceback

        with contextlib.suppress(OSError):
            traceback.print_exc()
        _complain(f"this is a bug in pipeline-supervisor {VERSION}; please report the lines above")
        return 1
    return code if isinstance(code, int) else 0


def _usage_error(error: click.ClickException) -> str:
    """A usage error of click as one message of ours."""
    text = error.format_message().rstrip(".").replace(". Did you", "; did you")
    context = error.ctx if isinstance(error, click.UsageError) else None
    verb = "supervisor" if context is None else context.command_path
    return f"{text[:1].lower()}{text[1:]} (see '{verb} --help')"


def _complete(instruction: str) -> int:
    """Complete for a shell; errors are not shown."""
    from click.shell_completion import shell_complete

    from supervisor.commands.completion_values import completer

    class Completing(LazyGroup):
        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
            command = super().get_command(ctx, cmd_name)
            for param in command.params if command is not None else ():
                # click takes this at construction only; one table is simpler.
                param._custom_shell_complete = completer(param)
            return command

    group = Completing("supervisor", params=root_command.params)
    with contextlib.suppress(OSError, TypedError, click.ClickException):
        return shell_complete(group, {}, "supervisor", COMPLETE, instruction)
    return 1


def _complain(text: str) -> None:
    """Print a message on stderr, unless that is closed."""
    with contextlib.suppress(OSError):
        print_error(text)
