"""The command line: which verbs there are, and the one place where unknown errors end.

A verb's module is imported when it is called, so that ``status`` never pays for what ``start``
needs.
"""

import contextlib
import gc
import importlib
import io
import os
import sys
from typing import Any, Final

import click

from supervisor.config.suggest import near
from supervisor.report.text.output import print_error
from supervisor.report.text.sanitize import bounded, clean
from supervisor.report.text.std_streams import discard, open_streams
from supervisor.version import VERSION
from workers.records.typed_errors import TypedError

SECTIONS: Final = {
    "Make runs": {
        "start": "Supervise a batch, pipelines, and what is handed in.",
        "run": "Start one run and follow it to its end.",
        "submit": "Submit a run and print its id.",
        "retry": "Make a run again, without the stages that succeeded.",
    },
    "See them": {
        "status": "Show the active and the newest runs.",
        "show": "Show one run's record.",
        "logs": "Show a run's output.",
        "events": "Print the facts of runs as NDJSON.",
        "report": "Write a run or a task as an HTML page.",
        "wait": "Wait for runs to end.",
    },
    "Steer them": {
        "cancel": "End runs, and return when nothing of them is left.",
        "pause": "Hold new starts, of all runs or of a group.",
        "resume": "Lift every pause, or that of a group.",
        "drain": "Let running runs end and start no more.",
        "stop": "Stop the supervisor of this root.",
    },
    "Configure": {
        "init": "Write a first configuration that runs.",
        "validate": "Check the configuration.",
        "plan": "Show what a pipeline would run.",
        "schema": "Print the JSON Schema of a file.",
        "unit": "Print a systemd user unit.",
        "completion": "Print what lets a shell complete.",
    },
    "Keep in order": {
        "doctor": "Look at machine and root, and say what to do.",
        "verify": "Hold every record against the invariants.",
        "repair": "Repair what verify reports.",
        "gc": "Remove finished runs by count, age and bytes.",
        "metrics": "Print figures for Prometheus.",
    },
}
VERBS: Final = {verb: text for verbs in SECTIONS.values() for verb, text in verbs.items()}


COMPLETE: Final = "_SUPERVISOR_COMPLETE"  # set by the script that `completion` prints


class LazyGroup(click.Group):
    """A group whose verbs are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every verb, in the order of the table."""
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
        """Name the nearest verb where there is none of that name."""
        if args and not args[0].startswith("-") and args[0] not in VERBS:
            hint = near(args[0], VERBS)
            ctx.fail(
                f"there is no command {args[0]!r}" + (f"; did you mean {hint!r}?" if hint else "")
            )
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """The verbs that fit, without importing them, and our own options."""
        from click.shell_completion import CompletionItem

        fitting = [(verb, text) for verb, text in VERBS.items() if verb.startswith(incomplete)]
        verbs = [CompletionItem(verb, help=text) for verb, text in fitting]
        return verbs + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing them, by what they are for."""
        longest = max(map(len, VERBS))
        for name, verbs in SECTIONS.items():
            with formatter.section(name):
                formatter.write_dl([(verb.ljust(longest), text) for verb, text in verbs.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="supervisor")
def root_command() -> None:
    """Supervise pipeline runs on plain files, and never lose track of one.

    Example: supervisor start --once --batch config/batches/diagnostics.toml
    """


def main() -> None:
    """Run the command line and exit with the contract's codes."""
    code = run(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # its reader is gone; what Python writes there at the end must not fail
            discard(stream)
    gc.freeze()  # nothing is left to free: else the interpreter's end looks through all there is
    sys.exit(code)


def run(argv: list[str]) -> int:
    """Run the command line.

    Args:
        argv: the words behind the program's name.

    Returns:
        The exit code.
    """
    open_streams()
    if COMPLETE in os.environ:
        return _complete(os.environ[COMPLETE])
    try:
        # Not by click's main: it turns a reader that went away into exit code 1.
        with root_command.make_context("supervisor", list(argv)) as context:
            code = root_command.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        told = io.StringIO()
        error.show(told)
        with contextlib.suppress(OSError):
            sys.stderr.write(bounded(clean(told.getvalue())))
        return 2
    except (click.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        return 141  # the reader has enough
    except TypedError as error:
        _complain(str(error))
        return error.exit_code
    except OSError as error:
        _complain(f"{error.filename or 'the system'}: {error.strerror or error}")
        return 73
    except Exception:  # noqa: BLE001 - the boundary: a bug is reported, never swallowed
        import traceback

        with contextlib.suppress(OSError):
            traceback.print_exc()
        _complain(f"this is a bug in pipeline-supervisor {VERSION}; please report the lines above")
        return 1
    return code if isinstance(code, int) else 0


def _complete(instruction: str) -> int:
    """Answer a shell that asks what fits; it never sees an error, which nobody could read."""
    from click.shell_completion import shell_complete

    from supervisor.commands.completion_values import completes

    class Completing(LazyGroup):
        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
            command = super().get_command(ctx, cmd_name)
            for param in command.params if command is not None else ():
                # click takes this with a parameter's making only; here it is told in one place.
                param._custom_shell_complete = completes(param)
            return command

    group = Completing("supervisor", params=root_command.params)
    with contextlib.suppress(OSError, TypedError, click.ClickException):
        return shell_complete(group, {}, "supervisor", COMPLETE, instruction)
    return 1


def _complain(text: str) -> None:
    """Say it on stderr; where that is gone, the exit code alone has to tell."""
    with contextlib.suppress(OSError):
        print_error(text)
