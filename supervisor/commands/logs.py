"""``supervisor logs``."""

import sys
from collections.abc import Iterable
from dataclasses import replace
from typing import TextIO

import click

from supervisor.commands.options import RUN, root_options
from supervisor.commands.wait_notice import FOLLOW_S, WaitNotice, sleep_while_stdout_open
from supervisor.config.find_root import layout_of
from supervisor.errors import UsageError
from supervisor.report.read.find_run import find_run
from supervisor.report.read.follow_run import OutputChunk, RunFollower
from supervisor.report.text.output import print_error
from supervisor.report.text.sanitize import OutputCleaner, clean_line
from workers.records.layout import Layout
from workers.records.spec import RunSpec, load_spec


class Printer:
    """Prints output, and a note for each gap.

    Args:
        only: print only this stream, on stdout; None prints both, each to its own.
        headings: on a terminal, print a stage's name before its output.
    """

    def __init__(self, only: str | None = None, *, headings: bool = False) -> None:
        self._only = only
        self._headings = headings and sys.stdout.isatty() and sys.stderr.isatty()
        self._stage: str | None = None
        self._cleaners: dict[tuple[str, str], OutputCleaner] = {}

    def print(self, chunks: Iterable[OutputChunk]) -> None:
        """Print output, in order."""
        for chunk in chunks:
            if self._only in (None, chunk.stream):
                self._one(chunk)

    def finish(self) -> None:
        """Print what was held back because it may have been an incomplete escape sequence."""
        for (_, stream), cleaner in self._cleaners.items():
            self._target(stream).write(cleaner.finish())
            self._target(stream).flush()

    def _target(self, stream: str) -> TextIO:
        return sys.stdout if self._only or stream == "stdout" else sys.stderr

    def _one(self, chunk: OutputChunk) -> None:
        if self._headings and chunk.stage != self._stage:
            self._stage = chunk.stage
            sys.stderr.write(f"--- {clean_line(chunk.stage)} ---\n")
            sys.stderr.flush()
        target = self._target(chunk.stream)
        cleaner = self._cleaners.setdefault((chunk.stage, chunk.stream), OutputCleaner())
        if chunk.missing_bytes:
            target.write(cleaner.finish())
            target.write(f"\n[supervisor: {chunk.missing_bytes} bytes dropped]\n")
        if target.isatty():
            target.write(cleaner.feed(chunk.data))
        else:
            target.flush()
            target.buffer.write(chunk.data)
        target.flush()


def head_bytes(spec: RunSpec) -> int:
    """The bytes that a log of this run keeps of the beginning of a stream."""
    return spec.limits.stream_limit_bytes // 2


def spec_of(layout: Layout, task_id: str, run_id: str) -> RunSpec | None:
    """The run's spec, None before its directory exists; errors as load_spec."""
    try:
        return load_spec(layout.run_dir(task_id, run_id).spec)
    except FileNotFoundError:
        return None


def last_lines(chunks: Iterable[OutputChunk], count: int) -> list[OutputChunk]:
    """The last N lines of some output."""
    last: list[OutputChunk] = []
    for chunk in reversed(list(chunks)):
        if count <= 0:
            break
        lines = chunk.data.splitlines(keepends=True)
        if len(lines) >= count:
            chunk = replace(chunk, data=b"".join(lines[-count:]), missing_bytes=0)
        count -= len(lines)
        last.append(chunk)
    return last[::-1]


@click.command("logs", epilog=RUN)
@click.argument("run")
@click.argument("stage", required=False)
@click.option("-f", "--follow", is_flag=True, help="Print new output until the run has ended.")
@click.option("--tail", type=click.IntRange(min=0), metavar="N", help="Start at the last N lines.")
@click.option(
    "--stream", type=click.Choice(["stdout", "stderr"]), help="Only this stream, on stdout."
)
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
    """Print the output of a run.

    Prints the output of RUN, or only of one STAGE: stdout to stdout and stderr to stderr, earlier
    tries first. Up to 64 KiB of each stream are kept (setting stream_limit_bytes), the beginning
    and the end; a line marks the gap. The output of a sub-pipeline is in its own run.

    Exit status: 0, 2 (unknown STAGE), 4 (unknown RUN).

    Example: supervisor logs -f latest
    """
    layout = layout_of(root, config, writes=False)
    task_id, run_id = find_run(layout, run)
    notice = WaitNotice(layout)
    while (spec := spec_of(layout, task_id, run_id)) is None:
        if not follow:
            return 0
        find_run(layout, run_id)  # it may be cancelled while it is queued
        notice.update()
        sleep_while_stdout_open(FOLLOW_S)
    stages = [item.id for item in spec.pipeline.stages]
    if stage is not None and stage not in stages:
        raise UsageError(reason=f"run {run_id} has no stage {stage!r}; it has: {', '.join(stages)}")
    reused_from = {item.stage: item.run_id for item in spec.kept}
    if stage in reused_from:
        print_error(
            f"{stage} was reused: 'supervisor logs {reused_from[stage]} {stage}' prints its output"
        )
    follower = RunFollower(layout, task_id, run_id, head_bytes=head_bytes(spec), stage=stage)
    printer = Printer(stream, headings=stage is None)
    chunks: Iterable[OutputChunk] = follower.read_new()
    if tail is not None:
        wanted = (chunk for chunk in chunks if stream in (None, chunk.stream))
        chunks = last_lines(wanted, tail)
    printer.print(chunks)
    while follow and follower.verdict is None:
        if follower.is_gone:
            print_error(f"the directory of {run_id} is gone; its output cannot be read")
            break
        notice.update()
        sleep_while_stdout_open(FOLLOW_S)
        printer.print(follower.read_new())
    printer.finish()
    return 0
