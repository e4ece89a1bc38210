"""``supervisor run``: make one run and follow it to its end."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from types import FrameType
from typing import Final, Unpack

import click

from supervisor.commands.asking import Wished, ask_for, asking_options
from supervisor.commands.logs import Printer, head_bytes
from supervisor.commands.waiting import Awaited, Service, outcome, wait_for
from supervisor.errors import SetAsideError
from supervisor.report.control import holds_now
from supervisor.report.follow import RunFollower
from supervisor.report.text import print_json, say
from workers.records.errors import TypedError
from workers.records.layout import Layout
from workers.records.request import Request, RequestKind, publish
from workers.records.spec import RunSpec

PAUSED_LOOK_S: Final = 1.0  # a run that is not held back has begun by then


@click.command("run", short_help="Make one run and follow it to its end.")
@asking_options
def command(
    ctx: click.Context,
    words: tuple[str, ...],
    root: str | None,
    config: str | None,
    as_json: bool,
    **wished: Unpack[Wished],
) -> int:
    """Make one run of PIPELINE, or of a COMMAND behind --, and follow its output to its end.

    The supervisor that serves the root makes it; where there is none, one is started for as long
    as somebody waits. INT cancels the run, a second INT leaves it alone and exits. Exits with the
    outcome: 0, 10 (failed), 11 (cancelled), 12 (lost).

    Example: supervisor run --task nightly -- pytest -q
    """
    layout, spec = ask_for(ctx, words, wished, root, config, asked_by="run")
    request = publish(layout, Request(kind=RequestKind.RUNS, runs=(spec,)))
    aside = os.path.join(layout.rejected, os.path.basename(request))
    follower = RunFollower(layout, spec.task_id, spec.run_id, head_bytes=head_bytes(spec))
    printer = Printer()
    service = Service(layout, config)
    paused = Paused(layout, spec)
    with _cancelling(layout, spec) as interrupts:

        def meanwhile() -> None:
            if os.path.lexists(aside):
                raise SetAsideError(path=aside, log=layout.log)
            service.ensure()
            paused.look()
            if not as_json:
                printer.print(follower.read_new())
            interrupts.act()

        awaited = Awaited(spec.task_id, spec.run_id)
        found = wait_for(layout, [awaited], timeout_s=None, meanwhile=meanwhile)
    service.leave()
    manifest = found[awaited]
    if as_json:
        print_json("run", {"manifest": manifest})
        return outcome(manifest)
    printer.print(follower.read_new())
    detail = f" ({manifest['status_detail']})" if manifest["status_detail"] else ""
    say(f"{manifest['status']}{detail}; its records: {manifest['artifact_root']}")
    return outcome(manifest)


class Paused:
    """Says once that the run is held back, where it is."""

    def __init__(self, layout: Layout, spec: RunSpec) -> None:
        self._layout = layout
        self._spec = spec
        self._look_mono_s = time.monotonic() + PAUSED_LOOK_S

    def look(self) -> None:
        """Look, one time, when the run could have begun."""
        if time.monotonic() < self._look_mono_s:
            return
        self._look_mono_s = float("inf")
        with contextlib.suppress(OSError, TypedError):  # the supervisor tells of a damaged file
            if holds_now(self._layout).hold(self._spec.group):
                say("new starts are paused; the run waits for 'supervisor resume'")


class Interrupts:
    """Counts INT and TERM; the first cancels the run, the second leaves it alone."""

    def __init__(self, layout: Layout, spec: RunSpec) -> None:
        self._layout = layout
        self._spec = spec
        self._came = 0
        self._cancelled = False

    def note(self, number: int, _frame: FrameType | None) -> None:
        """The handler."""
        self._came += 1
        if self._came > 1:
            raise SystemExit(128 + number)

    def act(self) -> None:
        """Hand in the cancellation that a signal asked for."""
        if self._came and not self._cancelled:
            self._cancelled = True
            say(f"cancelling {self._spec.run_id}; the same again leaves it to the supervisor")
            request = Request(
                kind=RequestKind.CANCEL,
                run_ids=(self._spec.run_id,),
                detail="cancelled-by-user",
            )
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
