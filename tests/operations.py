"""Counting what Python does: the bytecode instructions of a call, which no load changes."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def operations_of(call: Callable[[], object]) -> int:
    """Return how many bytecode instructions a call executes, those of what it calls included."""
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count
