"""JSON Schemas (draft 2020-12) of the records, one file each; tests check real records with them.

Readers ignore keys that they do not know, so only the manifest's own top level is closed. What a
spec shares with the configuration is added by ``supervisor.config.json_schema``.
"""

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
    """The file of a record's schema. ``name`` is one of RECORDS."""
    path = os.path.join(os.path.dirname(__file__), f"{name}.json")
    with open(path, encoding="utf-8") as file:
        return file.read()
