"""The pipelines of chaos; each stage leaves marks outside the root.

A stage appends ``begin RUN STAGE TRY`` when it begins and ``end RUN STAGE TRY`` when it ends, each
with one write. So the stages that really ran are known without records.
"""

import json
import os
from dataclasses import dataclass
from typing import Final

TASK: Final = "chaos"
BATCH: Final = "batch.toml"
BATCH_COUNTS: Final = {"quick": 3, "three": 2, "failing": 1}
_NAME: Final = "$SUPERVISED_RUN_ID $SUPERVISED_STAGE_ID $SUPERVISED_TRY"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One pipeline.

    Attributes:
        stages: id and shell command, without marks; "@NAME" is the sub-pipeline of that name.
        can_succeed: a run of it may succeed.
        extra: more keys of each stage, as TOML.
    """

    name: str
    stages: tuple[tuple[str, str], ...]
    can_succeed: bool = True
    extra: str = ""

    @property
    def commands(self) -> tuple[str, ...]:
        """The ids of the stages that run a command and leave marks."""
        return tuple(stage for stage, command in self.stages if not command.startswith("@"))


KINDS: Final = (
    Kind(name="quick", stages=(("a", ":"),)),
    Kind(name="three", stages=(("a", ":"), ("b", "sleep 0.1"), ("c", ":"))),
    Kind(name="nap", stages=(("a", "sleep 1"), ("b", "sleep 0.5"))),
    Kind(name="failing", stages=(("a", ":"), ("b", "exit 3"), ("c", ":")), can_succeed=False),
    Kind(
        name="retrying",
        stages=(("a", "[ $SUPERVISED_TRY -ge 3 ]"),),
        extra="retries = { attempts = 3, delay_s = 0.05 }\n",
    ),
    Kind(name="nested", stages=(("a", ":"), ("b", "@three"), ("c", ":"))),
    Kind(
        name="daemon",
        stages=(("a", "(trap '' TERM; exec setsid sleep 300 >/dev/null 2>&1) &"), ("b", ":")),
    ),
    Kind(name="flood", stages=(("a", "yes chaos | head -c 3000000; yes | head -c 99999 >&2"),)),
    Kind(
        name="stubborn",
        stages=(("a", "trap '' TERM INT HUP; sleep 60; sleep 60"),),
        can_succeed=False,
        extra="timeout_s = 1\n",
    ),
)


def write_config(root: str, marks: str) -> None:
    """Write settings, pipelines and a batch; heartbeats are frequent, for short tests."""
    lines = [
        "[supervisor]",
        f'default_task = "{TASK}"',
        "max_runs = 8",
        "heartbeat_interval_s = 0.2",
        "heartbeat_stale_after_s = 1.0",
        "manifest_throttle_s = 0.5",
        "grace_s = 0.5",
    ]
    for kind in KINDS:
        lines.append(f"[pipelines.{kind.name}]")
        for stage, command in kind.stages:
            lines += [f"[[pipelines.{kind.name}.stages]]", f'id = "{stage}"']
            if command.startswith("@"):
                lines.append(f'pipeline = "{command[1:]}"')
                continue
            marked = f'echo "begin {_NAME}" >> {marks}; {command} && echo "end {_NAME}" >> {marks}'
            if command.endswith("&"):
                marked = f'echo "begin {_NAME}" >> {marks}; {command} echo "end {_NAME}" >> {marks}'
            # A JSON string in ASCII is a TOML string, too.
            lines += [f"command = {json.dumps(marked)}", kind.extra]
    os.makedirs(os.path.join(root, "config"))
    _write(os.path.join(root, "config", "supervisor.toml"), lines)
    batch = [f'[[runs]]\npipeline = "{name}"\ncount = {n}' for name, n in BATCH_COUNTS.items()]
    _write(os.path.join(root, BATCH), batch)


def _write(path: str, lines: list[str]) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
