"""``supervisor run``: host one run and follow it to its end."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from types import FrameType
from typing import Final, Unpack

import click

from supervisor.commands.logs import Printer, head_bytes
from supervisor.commands.run_options import Wished, ask_for, asking_options
from supervisor.commands.run_waiter import POLL_S, RunRef, Service, outcome, wait_for
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

WHY_AFTER_S: Final = 5.0  # a person wonders by then
HOST_END_S: Final = 2.0  # it ends some milliseconds after its run
BROKEN_PIPE: Final = 141  # 128 + SIGPIPE, as a shell reports it


@click.command("run", short_help="Start one run and follow it to its end.")
@asking_options
def command(
    ctx: click.Context,
    words: tuple[str, ...],
    root: str | None,
    config: str | None,
    as_json: bool,
    **wished: Unpack[Wished],
) -> int:
    """Run PIPELINE, or a COMMAND behind --, and follow its output to its end.

    The run has your environment, umask and limits. A COMMAND runs in the current directory, a
    pipeline in the root. The supervisor of the root admits and records it; if there is none, a
    temporary one is started for as long as somebody waits.

    INT cancels the run, and so does a reader of the output that goes away; a second INT exits and
    leaves the run to end by itself, as a hang-up does. Exits with the run's outcome when its hooks
    have ended, too: 0, 10 (failed), 11 (cancelled), 12 (lost).

    Example: supervisor run --task nightly -- pytest -q
    """
    layout, spec = ask_for(ctx, words, wished, root, config, asked_by="run")
    host = HostProcess(layout, spec) if spec.launcher == CALLER else None
    try:
        request = publish(layout, Request(kind=RequestKind.RUNS, runs=(spec,)))
    except BaseException:
        if host is not None:
            host.dismiss()
        raise
    if host is not None:
        host.submitted()
    aside = os.path.join(layout.rejected, os.path.basename(request))
    output = Output(layout, spec, quiet=as_json)
    service = Service(layout, config)
    queued = WhyQueued(layout, spec)
    with _cancelling(layout, spec) as interrupts:

        def meanwhile() -> None:
            if os.path.lexists(aside):
                if host is not None:
                    host.dismiss()
                raise RequestRejectedError(path=aside, log=layout.log)
            service.ensure()
            queued.check()
            output.print_new()
            if output.reader_is_gone:
                interrupts.cancel("nobody reads its output any more")
            interrupts.act()

        awaited = RunRef(spec.task_id, spec.run_id)
        manifest = wait_for(layout, [awaited], timeout_s=None, meanwhile=meanwhile)[awaited]
        output.finish()
        _wait_for_hooks(layout, spec, service, interrupts)
    if host is not None:
        host.wait(HOST_END_S)
    service.leave()
    if as_json:
        print_json("run", {"manifest": manifest})
    else:
        detail = f" ({manifest['status_detail']})" if manifest["status_detail"] else ""
        print_error(f"{manifest['status']}{detail}; records: {manifest['artifact_root']}")
    return BROKEN_PIPE if output.reader_is_gone else outcome(manifest)


def _wait_for_hooks(
    layout: Layout, spec: RunSpec, service: Service, interrupts: "Interrupts"
) -> None:
    """Wait until the hooks of a finished run have ended, or until INT or TERM comes."""
    came = interrupts.count
    while os.path.lexists(layout.hook_marker(spec.run_id)) and interrupts.count == came:
        service.ensure()
        time.sleep(POLL_S)


class Output:
    """Prints what a run's stages write.

    Args:
        layout: the root.
        spec: the run.
        quiet: print nothing.

    Attributes:
        reader_is_gone: stdout or stderr is a pipe that nobody reads any more.
    """

    def __init__(self, layout: Layout, spec: RunSpec, *, quiet: bool) -> None:
        self._follower = RunFollower(layout, spec.task_id, spec.run_id, head_bytes=head_bytes(spec))
        self._printer = Printer()
        self._quiet = quiet
        self.reader_is_gone = False

    def print_new(self) -> None:
        """Print what is new; nothing more once nobody reads it."""
        if self._quiet or self.reader_is_gone:
            return
        try:
            self._printer.print(self._follower.read_new())
        except BrokenPipeError:
            self.reader_is_gone = True

    def finish(self) -> None:
        """The run has ended: print the rest."""
        self.print_new()
        if not self._quiet and not self.reader_is_gone:
            with contextlib.suppress(BrokenPipeError):
                self._printer.finish()


class WhyQueued:
    """Says once why the run has not started, if it has not after a while.

    Args:
        layout: the root.
        spec: the run.
    """

    def __init__(self, layout: Layout, spec: RunSpec) -> None:
        self._layout = layout
        self._spec = spec
        self._due_mono_s = time.monotonic() + WHY_AFTER_S

    def check(self) -> None:
        """Check, one time, when the run should have started."""
        if time.monotonic() < self._due_mono_s:
            return
        self._due_mono_s = float("inf")
        run = self._layout.run_dir(self._spec.task_id, self._spec.run_id)
        if os.path.exists(run.heartbeat):
            return
        with contextlib.suppress(OSError, TypedError):  # the supervisor reports a damaged file
            why = queue_reason(self._layout, fold_journal(self._layout, self._spec))
            if why is not None and (outer := self._spec.nested_in) is not None:
                why += f"; {outer} lends its place to one nested run at a time"
            print_error(f"{self._spec.run_id} is still queued" + (f": {why}" if why else ""))


class Interrupts:
    """Counts INT and TERM: the first cancels the run, the second leaves it to end by itself.

    Attributes:
        count: how many came.
    """

    def __init__(self, layout: Layout, spec: RunSpec) -> None:
        self._layout = layout
        self._spec = spec
        self.count = 0
        self._cancelled = False

    def note(self, number: int, _frame: FrameType | None) -> None:
        """The handler."""
        self.count += 1
        if self.count > 1:
            raise SystemExit(128 + number)

    def act(self) -> None:
        """Cancel the run if a signal asked for that."""
        if self.count:
            self.cancel("the same signal again leaves it to end by itself")

    def cancel(self, note: str) -> None:
        """Cancel the run, once.

        Args:
            note: what a person is told of it.
        """
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
    before = {n: signal.signal(n, interrupts.note) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupts
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
