"""``supervisor logs RUN [STAGE]``: a run's output, and ``-f`` to follow it."""

import sys
import time

import click

from supervisor.commands.options import layout_of, root_options
from supervisor.errors import UsageError
from supervisor.report.clean import clean_output
from supervisor.report.find import find_run
from supervisor.report.follow import Piece, RunFollower
from workers.records.layout import Layout
from workers.records.spec import RunSpec, load_spec

POLL_S = 0.1  # a person does not notice it; a log is refreshed four times a second


class Printer:
    """Prints pieces of output, each stream to its own; a gap is shown as such."""

    def __init__(self) -> None:
        self._tty = sys.stdout.isatty()

    def print(self, piece: Piece) -> None:
        """Print one piece."""
        target = sys.stdout if piece.stream == "stdout" else sys.stderr
        if piece.missing_bytes:
            target.write(f"\n[supervisor: {piece.missing_bytes} bytes dropped]\n")
        if target.isatty():
            target.write(clean_output(piece.data.decode("utf-8", "backslashreplace")))
        else:
            target.flush()
            target.buffer.write(piece.data)
        target.flush()


def head_bytes(spec: RunSpec) -> int:
    """How much of a stream's beginning a log of this run keeps."""
    return spec.limits.stream_limit_bytes // 2


def spec_of(layout: Layout, task_id: str, run_id: str) -> RunSpec | None:
    """The run's spec, None while its directory is not there; errors as load_spec."""
    try:
        return load_spec(layout.run_dir(task_id, run_id).spec)
    except FileNotFoundError:
        return None


@click.command("logs", short_help="Show a run's output.")
@click.argument("run")
@click.argument("stage", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on until the run ends.")
@root_options
def command(run: str, stage: str | None, follow: bool, root: str | None, config: str | None) -> int:
    """Show the output of RUN, or of one STAGE of it.

    What a stage wrote to stdout goes to stdout, what it wrote to stderr to stderr. At most 64 KiB
    per stream are kept; what is missing is said.

    Example: supervisor logs -f latest tests
    """
    layout = layout_of(root, config)
    task_id, run_id = find_run(layout, run)
    while (spec := spec_of(layout, task_id, run_id)) is None:
        if not follow:
            return 0
        time.sleep(POLL_S)
    stages = [item.id for item in spec.pipeline.stages]
    if stage is not None and stage not in stages:
        raise UsageError(why=f"run {run_id} has no stage {stage!r}; it has: {', '.join(stages)}")
    follower = RunFollower(layout, task_id, run_id, head_bytes=head_bytes(spec), stage=stage)
    printer = Printer()
    while True:
        for piece in follower.read_new():
            printer.print(piece)
        if not follow or follower.verdict is not None:
            return 0
        time.sleep(POLL_S)
