"""JSON Schemas (draft 2020-12) of the records, one file each; tests hold real records against them.

A file of this directory is the only place that tells a program which keys a record has. Readers
ignore keys that they do not know, so only the manifest's own top level is closed. A request holds
specs, whose schema is put into its own where it is read.
"""

import json
import os
from collections.abc import Mapping
from typing import Final

RECORDS: Final[Mapping[str, str]] = {
    "manifest": "the record of one run",
    "journal": "a line of a run's journal: one fact",
    "history": "a line of a task's history: one finished run",
    "state": "a task's newest runs",
    "metrics": "a task's totals, percentiles and guardrails",
    "error": "why a stage failed",
    "spec": "what was asked of a run",
    "hook": "what became of a run's hook",
    "request": "what the inbox holds",
    "status": "the supervisor's view of its fleet",
    "log": "a line of the supervisor's log",
}


def schema_text(name: str) -> str:
    """The schema of a record, as text. ``name`` is one of RECORDS."""
    text = _file(name)
    if name != "request":
        return text
    request, spec = json.loads(text), json.loads(_file("spec"))
    own = {key: spec[key] for key in ("type", "required", "properties")}
    request["$defs"] = {"spec": own, **spec["$defs"], **request["$defs"]}
    return json.dumps(request, indent=2) + "\n"


def _file(name: str) -> str:
    path = os.path.join(os.path.dirname(__file__), f"{name}.json")
    with open(path, encoding="utf-8") as file:
        return file.read()
