"""Prints the matrix of faults: each row, its state, and the promise. Exit 1 where a row is open.

``python -m tests.faults`` collects the tests; ``--run`` also runs those that cover a row, with
whatever follows given to pytest; ``--tests`` names them.
"""

import contextlib
import io
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest

from tests.faults.rows import IMPOSSIBLE, ROWS

OK, FAILED = pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED
NONE = pytest.ExitCode.NO_TESTS_COLLECTED
QUIET = ["-q", "-p", "no:cacheprovider", "-m", "", "--strict-markers"]


@dataclass(eq=False)
class Collector:
    """A pytest plugin that learns which tests cover which row, and how they ended."""

    tests: dict[str, list[str]] = field(default_factory=lambda: {row: [] for row in ROWS})
    outcomes: dict[str, str] = field(default_factory=dict)

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Keep the tests that cover a row."""
        kept = []
        for item in items:
            rows = {str(row) for mark in item.iter_markers("fault") for row in mark.args}
            for row in rows:
                self.tests[row].append(item.nodeid)
            if rows:
                kept.append(item)
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember the worst that happened to a test."""
        telling = report.when == "call" or not report.passed
        if telling and self.outcomes.get(report.nodeid) != "failed":
            self.outcomes[report.nodeid] = report.outcome

    def state(self, row: str, *, ran: bool) -> str:
        """One word for a row."""
        if not self.tests[row]:
            return "impossible" if row in IMPOSSIBLE else "OPEN"
        if not ran:
            return "covered"
        ended = {self.outcomes.get(test, "skipped") for test in self.tests[row]}
        return "FAILED" if "failed" in ended else "passed" if "passed" in ended else "skipped"


def collect(options: Iterable[str] = ("--collect-only",)) -> Collector:
    """Which tests cover which row; raises KeyError for a row that does not exist."""
    collector = Collector()
    said = io.StringIO()
    quiet = contextlib.redirect_stdout(said) if "--collect-only" in options else None
    with quiet or contextlib.nullcontext():
        code = pytest.main([*QUIET, *options], plugins=[collector])
    if code not in (OK, FAILED, NONE):
        raise SystemExit(f"the tests cannot be collected:\n{said.getvalue()}")
    return collector


def main(words: list[str]) -> int:
    """Print the matrix."""
    run, names = "--run" in words, "--tests" in words
    rest = [word for word in words if word not in ("--run", "--tests")]
    collector = collect(rest if run else ["--collect-only", *rest])
    states = {row: collector.state(row, ran=run) for row in ROWS}
    for row, promise in ROWS.items():
        tests = collector.tests[row]
        print(f"{row:4} {states[row]:10} {len(tests):4}  {IMPOSSIBLE.get(row) or promise}")
        for test in tests if names else ():
            print(f"{'':21}{test}")
    counts = {state: list(states.values()).count(state) for state in dict.fromkeys(states.values())}
    print(f"{len(ROWS)} rows: " + ", ".join(f"{n} {state}" for state, n in counts.items()))
    return int(bool({"OPEN", "FAILED"} & set(counts)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
