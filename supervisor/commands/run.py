"""``supervisor run``."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from types import FrameType
from typing import Final, Unpack

import click

from supervisor.commands.logs import Printer, head_bytes
from supervisor.commands.ondemand_supervisor import OndemandSupervisor
from supervisor.commands.run_options import GivenOptions, build_spec, spec_options
from supervisor.commands.run_waiter import POLL_S, RunRef, outcome, wait_for
from supervisor.errors import RequestRejectedError
from supervisor.launchers.caller_process import HostProcess
from supervisor.report.read.follow_run import RunFollower
from supervisor.report.read.queue_state import queue_reason
from supervisor.report.read.run_records import fold_journal
from supervisor.report.text.output import print_error, print_json
from workers.records.layout import Layout
from workers.records.placement import CALLER
from workers.records.request import Request, RequestKind, publish
from workers.records.spec import RunSpec
from workers.records.typed_errors import TypedError

QUEUE_NOTICE_S: Final = 5.0
HOST_END_S: Final = 2.0  # the host exits milliseconds after its run
BROKEN_PIPE: Final = 141  # 128 + SIGPIPE, as a shell reports it


@click.command("run")
@spec_options
def command(
    ctx: click.Context,
    argv: tuple[str, ...],
    root: str | None,
    config: str | None,
    as_json: bool,
    **options: Unpack[GivenOptions],
) -> int:
    """Run a pipeline or a command, and wait for it.

    Prints the output of PIPELINE, or of COMMAND after --. The run has your environment, umask and
    limits. A command runs in the current directory, a pipeline in the root. If no supervisor
    serves the root, a temporary one is started.

    INT (Ctrl-C), or closing the output, cancels the run. A second INT, or a hang-up, exits and
    leaves the run to end by itself.

    Exit status, after the run's hooks: 0, 10 (failed), 11 (cancelled), 12 (lost), 141 (the output
    was closed).

    Example: supervisor run --task nightly -- pytest -q
    """
    layout, spec = build_spec(ctx, argv, options, root, config, asked_by="run")
    output = Output(layout, spec, quiet=as_json)
    supervisor = OndemandSupervisor(layout, config)
    with _cancelling(layout, spec) as interrupts:
        host = HostProcess(layout, spec) if spec.launcher == CALLER else None
        try:
            request = publish(layout, Request(kind=RequestKind.RUNS, runs=(spec,)))
        except BaseException:
            if host is not None:
                host.dismiss()
            raise
        if host is not None:
            host.submitted()
        rejected = os.path.join(layout.rejected, os.path.basename(request))
        queued = QueueNotice(layout, spec)

        def meanwhile() -> None:
            if os.path.lexists(rejected):
                if host is not None:
                    host.dismiss()
                raise RequestRejectedError(path=rejected, log=layout.log)
            supervisor.ensure()
            queued.update()
            output.print_new()
            if output.reader_is_gone:
                interrupts.cancel("its output was closed")
            interrupts.cancel_if_any()

        awaited = RunRef(spec.task_id, spec.run_id)
        manifest = wait_for(layout, [awaited], timeout_s=None, meanwhile=meanwhile)[awaited]
        output.finish()
        _wait_for_hooks(layout, spec, supervisor, interrupts)
    if host is not None:
        host.wait(HOST_END_S)
    supervisor.detach()
    if as_json:
        print_json("run", {"manifest": manifest})
    else:
        detail = f" ({manifest['status_detail']})" if manifest["status_detail"] else ""
        print_error(f"{manifest['status']}{detail}; records: {manifest['artifact_root']}")
    return BROKEN_PIPE if output.reader_is_gone else outcome(manifest)


def _wait_for_hooks(
    layout: Layout, spec: RunSpec, supervisor: OndemandSupervisor, interrupts: "Interrupts"
) -> None:
    """Wait until the hooks of a finished run have ended, or for INT or TERM."""
    count = interrupts.count
    while os.path.lexists(layout.hook_marker(spec.run_id)) and interrupts.count == count:
        supervisor.ensure()
        time.sleep(POLL_S)


class Output:
    """Prints the output of a run.

    Args:
        layout: the root.
        spec: the run.
        quiet: print nothing.

    Attributes:
        reader_is_gone: stdout or stderr is a pipe without a reader.
    """

    def __init__(self, layout: Layout, spec: RunSpec, *, quiet: bool) -> None:
        self._follower = RunFollower(layout, spec.task_id, spec.run_id, head_bytes=head_bytes(spec))
        self._printer = Printer()
        self._quiet = quiet
        self.reader_is_gone = False

    def print_new(self) -> None:
        """Print new output, unless its reader is gone."""
        if self._quiet or self.reader_is_gone:
            return
        try:
            self._printer.print(self._follower.read_new())
        except BrokenPipeError:
            self.reader_is_gone = True

    def finish(self) -> None:
        """Print the rest after the run has ended."""
        self.print_new()
        if not self._quiet and not self.reader_is_gone:
            with contextlib.suppress(BrokenPipeError):
                self._printer.finish()


class QueueNotice:
    """Prints once why the run has not started after 5 s.

    Args:
        layout: the root.
        spec: the run.
    """

    def __init__(self, layout: Layout, spec: RunSpec) -> None:
        self._layout = layout
        self._spec = spec
        self._due_mono_s = time.monotonic() + QUEUE_NOTICE_S

    def update(self) -> None:
        """Check once, when the run should have started."""
        if time.monotonic() < self._due_mono_s:
            return
        self._due_mono_s = float("inf")
        run = self._layout.run_dir(self._spec.task_id, self._spec.run_id)
        if os.path.exists(run.heartbeat):
            return
        with contextlib.suppress(OSError, TypedError):  # the supervisor reports a damaged file
            reason = queue_reason(self._layout, fold_journal(self._layout, self._spec))
            if reason is not None and (outer := self._spec.nested_in) is not None:
                reason += f"; {outer} lends its slot to one nested run at a time"
            print_error(f"{self._spec.run_id} is still queued" + (f": {reason}" if reason else ""))


class Interrupts:
    """Handles INT and TERM: the first cancels the run, the second exits.

    Attributes:
        count: the number of signals.
    """

    def __init__(self, layout: Layout, spec: RunSpec) -> None:
        self._layout = layout
        self._spec = spec
        self.count = 0
        self._cancelled = False

    def handle(self, number: int, _frame: FrameType | None) -> None:
        """The signal handler."""
        self.count += 1
        if self.count > 1:
            raise SystemExit(128 + number)

    def cancel_if_any(self) -> None:
        """Cancel the run after a signal."""
        if self.count:
            self.cancel("a second signal exits and leaves the run to end by itself")

    def cancel(self, note: str) -> None:
        """Cancel the run, once, and print a note."""
        if self._cancelled:
            return
        self._cancelled = True
        run_id = self._spec.run_id
        with contextlib.suppress(OSError):  # stderr may be gone as well
            print_error(f"cancelling {run_id}: {note}")
        request = Request(kind=RequestKind.CANCEL, run_ids=(run_id,), detail="cancelled-by-user")
        publish(self._layout, request)


@contextlib.contextmanager
def _cancelling(layout: Layout, spec: RunSpec) -> Iterator[Interrupts]:
    interrupts = Interrupts(layout, spec)
    before = {n: signal.signal(n, interrupts.handle) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupts
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
