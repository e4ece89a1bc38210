"""The HTML page of a run or a task: self-contained, with every foreign text escaped."""

import re
import stat
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from supervisor.report.html import page as html
from supervisor.report.html import timeline
from supervisor.report.read.stage_tries import Span
from tests.root import Root, root_in

HOSTILE = """</pre></title><script>alert(1)</script><img src=x onerror=alert(1)>&amp;"'"""
SCRIPT = "cat hostile; cat hostile >&2; seq 1 40000; exit 3"
PIPELINES = f"""
[pipelines.quick]
stages = [{{ id = "s", command = "true" }}]
[pipelines.loud]
title = '''{HOSTILE}'''
[[pipelines.loud.stages]]
id = "sub"
pipeline = "quick"
[[pipelines.loud.stages]]
id = "again"
command = "test $SUPERVISED_TRY -ge 2"
retries = {{ attempts = 2, delay_s = 0.05 }}
[[pipelines.loud.stages]]
id = "shout"
command = "{SCRIPT}"
[[pipelines.loud.stages]]
id = "never"
command = "true"
"""
TAGS = {
    *("html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "p", "span", "b", "pre"),
    *("table", "thead", "tbody", "tr", "th", "td", "details", "summary"),
    *("svg", "line", "text", "rect"),
}
VOID = {"meta", "line"}


class Page(HTMLParser):
    """Parses a page and checks that it has only what we write."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.rects: list[dict[str, str | None]] = []
        self.feed(page)
        self.close()
        assert self.open == [], "every tag is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS, tag
        for name, _ in attrs:
            assert not name.startswith("on")
            assert name not in ("src", "href", "style", "xlink:href"), name
        if tag == "rect":
            self.rects.append(dict(attrs))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="module")
def loud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Root]:
    """A root with a failed run whose output is hostile and too long, and two good runs."""
    with root_in(tmp_path_factory.mktemp("report") / "root") as made:
        made.configure(PIPELINES)
        made.write("hostile", HOSTILE + "\x1b]0;title\x07\x1b[31mred\x1b[0m\n")
        assert made.call("start", "--once", "quick", "quick", "loud").code == 10
        yield made


def failed(root: Root) -> str:
    rows = root.call("status", "--json").json()["runs"]
    return next(row["run_id"] for row in rows if row["status"] == "failed")


def written(root: Root, *words: str) -> str:
    done = root.call("report", *words, "-o", "page.html")
    assert (done.code, done.out, done.err) == (0, "", "")
    return (root.path / "page.html").read_text()


def test_run_page_is_self_contained_and_complete(loud: Root) -> None:
    page = written(loud, failed(loud))
    read = Page(page)
    for foreign in ("http:", "https:", "url(", "@import", "<script", "<img"):
        assert foreign not in page.replace(html.POLICY, ""), foreign
    assert "\x1b" not in page
    words = "".join(read.words)
    assert words.count(HOSTILE) >= 3, "the title, stdout, stderr: shown as it is, as text"
    for told in ("stage:shout:failed", "exit code 3", "again", "sub/s", "never", "40000"):
        assert told in words, told
    assert re.search(r"shout stdout \d+ bytes were dropped", words)
    assert re.search(r'<span class="gap">\d+ bytes before this are in \.runs/', page) or (
        '<p class="gap">' in page
    )
    kinds = {str(rect["class"]) for rect in read.rects}
    assert {"succeeded", "failed", "running wait"} <= kinds


def test_same_records_give_the_same_private_page_that_is_replaced_atomically(
    loud: Root,
) -> None:
    run_id = failed(loud)
    page = written(loud, run_id)
    path = loud.path / "page.html"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    inode = path.stat().st_ino
    assert written(loud, run_id) == page
    assert path.stat().st_ino != inode
    assert loud.call("report", run_id, "-o", "-").out == page
    for words in (["--task", "default"], ["--task", "default", "--last", "2"]):
        assert written(loud, *words) == written(loud, *words)


def test_task_page_has_runs_failures_and_guardrails(loud: Root) -> None:
    page = written(loud, "--task", "default")
    read = Page(page)
    words = "".join(read.words)
    assert "the newest 4 runs: 1 failed, 3 succeeded" in words
    for row in loud.call("status", "--json").json()["runs"]:
        assert row["run_id"] in words
    assert "stage:shout:failed" in words
    assert "stdout | 40000" in words
    assert "snapshots_missed" in words
    assert len(read.rects) == 4
    assert "the newest 2 runs" in written(loud, "--task", "default", "--last", "2")


def test_page_of_a_run_with_deleted_records_shows_the_rest(loud: Root, tmp_path: Path) -> None:
    run_id = failed(loud)
    directory = Path(loud.layout.run_dir("default", run_id).path)
    moved = [directory / "journal.ndjson", directory / "commands"]
    for path in moved:
        path.rename(tmp_path / path.name)
    try:
        page = written(loud, run_id)
    finally:
        for path in moved:
            (tmp_path / path.name).rename(path)
    words = "".join(Page(page).words)
    assert "stage:shout:failed" in words
    assert "40000" in words, "the end of the output is in the error file"


def test_impossible_reports_are_typed_errors(loud: Root) -> None:
    assert loud.call("report", "-o", "-").code == 2
    assert loud.call("report", "latest", "--task", "default", "-o", "-").code == 2
    assert loud.call("report", "--task", "nobody", "-o", "-").code == 4
    unknown = loud.call("report", "--task", "defualt", "-o", "-")
    assert (unknown.code, "did you mean 'default'?" in unknown.err) == (4, True)
    assert loud.call("report", "--task", "../x", "-o", "-").code == 2
    assert loud.call("report", "latest", "-o", "missing/page.html").code == 73
    assert loud.call("report", "latest", "-o", "config").code == 73


@pytest.mark.parametrize("total_s", [0.0, 0.01, 1.9, 7, 61, 5000, 1e5, 3e7])
def test_timeline_has_few_round_ticks_and_every_bar_inside(total_s: float) -> None:
    bar = timeline.TimelineBar(Span(total_s, total_s), "failed", "at the very end")
    picture = timeline.svg([timeline.TimelineRow("x" * 200, 99, (bar,))], total_s)
    assert 1 <= picture.count("<line") <= 8
    (x,) = re.findall(r'<rect class="failed" x="([0-9.]+)" y="\d+" width="2.0"', picture)
    assert 0 <= float(x) <= 898
