"""``supervisor logs RUN [STAGE]``: a run's output, and ``-f`` to follow it."""

import sys
from collections.abc import Iterable
from dataclasses import replace
from typing import TextIO

import click

from supervisor.commands.options import root_options
from supervisor.commands.poll import FOLLOW_S, pause
from supervisor.commands.unserved import Waiting
from supervisor.config.find_root import layout_of
from supervisor.errors import UsageError
from supervisor.report.read.find_run import find_run
from supervisor.report.read.follow_run import OutputChunk, RunFollower
from supervisor.report.text.output import print_error
from supervisor.report.text.sanitize import OutputCleaner, clean_line
from workers.records.layout import Layout
from workers.records.spec import RunSpec, load_spec


class Printer:
    """Prints pieces of output; a gap is shown as such.

    Args:
        only: the one stream that is shown, on stdout whichever it is; None for each to its own.
        headings: on a terminal, name a stage before its output.
    """

    def __init__(self, only: str | None = None, *, headings: bool = False) -> None:
        self._only = only
        self._headings = headings and sys.stdout.isatty() and sys.stderr.isatty()
        self._stage: str | None = None
        self._cleaners: dict[tuple[str, str], OutputCleaner] = {}

    def print(self, pieces: Iterable[OutputChunk]) -> None:
        """Print some pieces, in order."""
        for piece in pieces:
            if self._only in (None, piece.stream):
                self._one(piece)

    def finish(self) -> None:
        """Print what a terminal was not shown yet because it may have been unfinished."""
        for (_, stream), cleaner in self._cleaners.items():
            self._target(stream).write(cleaner.finish())
            self._target(stream).flush()

    def _target(self, stream: str) -> TextIO:
        return sys.stdout if self._only or stream == "stdout" else sys.stderr

    def _one(self, piece: OutputChunk) -> None:
        if self._headings and piece.stage != self._stage:
            self._stage = piece.stage
            sys.stderr.write(f"--- {clean_line(piece.stage)} ---\n")
            sys.stderr.flush()
        target = self._target(piece.stream)
        cleaner = self._cleaners.setdefault((piece.stage, piece.stream), OutputCleaner())
        if piece.missing_bytes:
            target.write(cleaner.finish())
            target.write(f"\n[supervisor: {piece.missing_bytes} bytes dropped]\n")
        if target.isatty():
            target.write(cleaner.feed(piece.data))
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


def last_lines(pieces: Iterable[OutputChunk], count: int) -> list[OutputChunk]:
    """The pieces that hold the last so many lines of some output, the first of them cut."""
    found: list[OutputChunk] = []
    for piece in reversed(list(pieces)):
        if count <= 0:
            break
        lines = piece.data.splitlines(keepends=True)
        if len(lines) >= count:
            piece = replace(piece, data=b"".join(lines[-count:]), missing_bytes=0)
        count -= len(lines)
        found.append(piece)
    return found[::-1]


@click.command("logs", short_help="Show a run's output.")
@click.argument("run")
@click.argument("stage", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on until the run ends.")
@click.option("--tail", type=click.IntRange(min=0), metavar="N", help="Begin at the last N lines.")
@click.option("--stream", type=click.Choice(["stdout", "stderr"]), help="This one only, on stdout.")
@root_options
def command(
    run: str,
    stage: str | None,
    follow: bool,
    tail: int | None,
    stream: str | None,
    root: str | None,
    config: str | None,
) -> int:
    """Show the output of RUN, or of one STAGE of it; a sub-pipeline's is that of its run.

    What a stage wrote to stdout goes to stdout, what it wrote to stderr to stderr. At most 64 KiB
    per stream are kept; what is missing is said. On a terminal each stage is named. With -f a
    supervisor that is missing or stopped is reported on stderr.

    Example: supervisor logs -f latest tests
    """
    layout = layout_of(root, config, writes=False)
    task_id, run_id = find_run(layout, run)
    waiting = Waiting(layout)
    while (spec := spec_of(layout, task_id, run_id)) is None:
        if not follow:
            return 0
        find_run(layout, run_id)  # it may be taken back while it waits
        waiting.explain()
        pause(FOLLOW_S)
    stages = [item.id for item in spec.pipeline.stages]
    if stage is not None and stage not in stages:
        raise UsageError(reason=f"run {run_id} has no stage {stage!r}; it has: {', '.join(stages)}")
    kept_from = {item.stage: item.run_id for item in spec.kept}
    if stage in kept_from:
        print_error(
            f"{stage} was kept: 'supervisor logs {kept_from[stage]} {stage}' shows its output"
        )
    follower = RunFollower(layout, task_id, run_id, head_bytes=head_bytes(spec), stage=stage)
    printer = Printer(stream, headings=stage is None)
    found: Iterable[OutputChunk] = follower.read_new()
    if tail is not None:
        wanted = (piece for piece in found if stream in (None, piece.stream))
        found = last_lines(wanted, tail)
    printer.print(found)
    while follow and follower.verdict is None:
        if follower.is_gone:
            print_error(f"the directory of {run_id} is gone")
            break
        waiting.explain()
        pause(FOLLOW_S)
        printer.print(follower.read_new())
    printer.finish()
    return 0
