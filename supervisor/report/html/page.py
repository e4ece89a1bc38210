"""HTML pages: one file without scripts that fetches nothing; with dark mode and a print style.

Foreign text is escaped by ``text``: first as for a terminal (``clean``), then for HTML. If hostile
output still got through, the page's Content-Security-Policy forbids to fetch or run anything.
"""

import html
from collections.abc import Iterable, Sequence
from typing import Final

from supervisor.report.text.sanitize import clean, without_colours

STYLE: Final = """\
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#57606a;--line:#d0d7de;--page:#fff;
--well:#f6f8fa;--succeeded:#1a7f37;--failed:#cf222e;--cancelled:#9a6700;--running:#0969da;--quiet:#8c959f}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9198a1;--line:#3d444d;--page:#0d1117;
--well:#161b22;--succeeded:#3fb950;--failed:#f85149;--cancelled:#d29922;--running:#4493f8;
--quiet:#6e7681}}
@media print{:root{--ink:#000;--page:#fff;--well:#fff;--soft:#444;--line:#999}
details>pre{max-height:none}tr,svg,figure{break-inside:avoid}}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}
body{margin:2rem auto;max-width:62rem;padding:0 1rem;background:var(--page);color:var(--ink);
font:15px/1.5 system-ui,sans-serif}
h1{font-size:1.35rem;overflow-wrap:anywhere}h2{font-size:1.1rem;margin-top:2rem}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.25rem .75rem .25rem 0;
border-bottom:1px solid var(--line);overflow-wrap:anywhere}
th{color:var(--soft);font-weight:600;white-space:nowrap}td.n{white-space:nowrap}
pre{background:var(--well);border:1px solid var(--line);padding:.6rem;max-height:24rem;
overflow:auto;white-space:pre-wrap;overflow-wrap:anywhere;font:13px/1.4 ui-monospace,monospace}
.gap{color:var(--failed);font-weight:700}.soft{color:var(--soft)}
.succeeded{color:var(--succeeded)}
.failed,.unreadable,.breached,.timed-out,.not-started{color:var(--failed)}
.cancelled,.skipped,.stopped,.interrupted{color:var(--cancelled)}.in_progress,.running,.started{color:var(--running)}
.queued,.pending{color:var(--quiet)}b.s{font-weight:700}
svg{width:100%;height:auto;font:12px system-ui,sans-serif}
svg text{fill:currentColor;color:var(--ink)}
svg rect{fill:currentColor}svg .wait{opacity:.35}svg .axis{stroke:var(--line)}
"""
POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"


def text(foreign: object) -> str:
    """Escape foreign text for HTML, quoted attributes included."""
    return html.escape(clean(str(foreign)))


def output(foreign: str) -> str:
    """Escape a stage's output for HTML, without its colours."""
    return html.escape(without_colours(foreign))


def status(word: str) -> str:
    """A status in its colour."""
    return f'<b class="s {text(word)}">{text(word)}</b>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; its cells are HTML."""
    cells = "".join(f"<th>{text(name)}</th>" for name in head)
    body = "\n".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{cells}</tr></thead><tbody>\n{body}\n</tbody></table>"


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """A table of names and values; the values are HTML."""
    body = "\n".join(f"<tr><th>{text(name)}</th><td>{value}</td></tr>" for name, value in rows)
    return f"<table>{body}</table>"


def document(title: str, body: Iterable[str]) -> str:
    """The whole page; the title is foreign text, the parts of the body are HTML."""
    parts = "\n".join(body)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{text(title)}</title>\n<style>\n{STYLE}</style>\n</head>\n"
        f"<body>\n{parts}\n</body>\n</html>\n"
    )
