"""The actions of chaos, each chosen by the seed."""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from stress.chaos.pipelines import BATCH, KINDS, TASK
from stress.chaos.world import CLIENTS_LIMIT, Process, World

_JUMPS_S: Final = (-86_400, -3_600, -1, 0, 1, 3_600, 86_400)


@dataclass(frozen=True, slots=True)
class Action:
    """One kind of action; ``act`` returns whether there was a target."""

    name: str
    weight: int
    act: Callable[[World], bool]


def _client(world: World, *argv: str) -> bool:
    if len(world.clients) >= CLIENTS_LIMIT + len(world.processes("supervisor")):
        return False
    world.command(*argv)
    return True


def _submit(world: World) -> bool:
    return _client(world, "submit", world.chance.choice(KINDS).name)


def _run(world: World) -> bool:
    return _client(world, "run", world.chance.choice(KINDS).name)


def _start(world: World) -> bool:
    if len(world.processes("supervisor")) > 1:
        return False
    once = ("--once",) if world.chance.random() < 0.3 else ()
    batch = ("--batch", os.path.join(world.layout.root, BATCH))
    wanted = world.chance.choice(((), ("quick", "nap"), batch, batch))
    world.command("start", *once, *wanted, serving=True)
    return True


def _second_start(world: World) -> bool:
    if not world.processes("supervisor"):
        return False
    return _client(world, "start", "--once", "quick")


def _stop(world: World) -> bool:
    return _client(world, "stop", *world.chance.choice(((), ("--leave-running",))))


def _cancel(world: World) -> bool:
    known = sorted(world.acknowledged)
    return bool(known) and _client(world, "cancel", world.chance.choice(known[-20:]))


def _status(world: World) -> bool:
    return _client(world, "status", "--json")


def _one(world: World, role: str) -> Process | None:
    found = world.processes(role)
    return world.chance.choice(found) if found else None


def _signal(role: str, number: signal.Signals) -> Callable[[World], bool]:
    def act(world: World) -> bool:
        found = _one(world, role)
        if found is not None:
            found.signal(number)
        return found is not None

    return act


def _suspend(role: str) -> Callable[[World], bool]:
    def act(world: World) -> bool:
        found = _one(world, role)
        if found is None:
            return False
        found.signal(signal.SIGSTOP)
        _later(world, 2.0, lambda: found.signal(signal.SIGCONT))
        return True

    return act


def _later(world: World, at_most_s: float, action: Callable[[], None]) -> None:
    world.later.append((time.monotonic() + world.chance.uniform(0.05, at_most_s), action))


def _kill_client(world: World) -> bool:
    asking = [client for client in world.clients if client.argv[0] != "start"]
    if not asking:
        return False
    world.end(world.chance.choice(asking))
    return True


def _fill(world: World) -> bool:
    if world.disk.unavailable_reason is not None:
        return False
    world.disk.fill()
    _later(world, 1.5, world.disk.free)
    return True


def _jump(world: World) -> bool:
    if world.clock.unavailable_reason is not None:
        return False
    world.clock.jump(world.chance.choice(_JUMPS_S))
    return True


def _delete_lock(world: World) -> bool:
    try:
        os.unlink(world.layout.state_lock(TASK))
    except FileNotFoundError:
        return False
    return True


def _drop_garbage(world: World) -> bool:
    """Put something into the inbox that is no request."""
    inbox = world.layout.inbox
    path = os.path.join(inbox, f"garbage-{world.chance.randrange(1 << 32):08x}.json")
    if not os.path.isdir(inbox):
        return False
    kind = world.chance.randrange(5)
    try:
        if kind == 0:
            os.mkdir(path, 0o700)
        elif kind == 1:
            os.mkfifo(path, 0o600)
        elif kind == 2:
            os.symlink("/etc/hostname", path)
        else:
            data = world.chance.randbytes(world.chance.randrange(4096)) if kind == 3 else b"{}"
            with open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
                file.write(data)
    except OSError:  # the disk is full at the moment
        return False
    return True


ACTIONS: Final = (
    Action("submit a run", 26, _submit),
    Action("run a run", 6, _run),
    Action("start a supervisor", 14, _start),
    Action("start a second supervisor", 3, _second_start),
    Action("stop the supervisor", 3, _stop),
    Action("cancel a run", 5, _cancel),
    Action("read the status", 4, _status),
    Action("kill a command", 4, _kill_client),
    Action("kill a supervisor", 8, _signal("supervisor", signal.SIGKILL)),
    Action("terminate a supervisor", 2, _signal("supervisor", signal.SIGTERM)),
    Action("suspend a supervisor", 4, _suspend("supervisor")),
    Action("kill a worker", 7, _signal("worker", signal.SIGKILL)),
    Action("suspend a worker", 4, _suspend("worker")),
    Action("kill a stage's process", 4, _signal("stage", signal.SIGKILL)),
    Action("fill the disk", 3, _fill),
    Action("jump the wall clock", 4, _jump),
    Action("delete the state's lock file", 4, _delete_lock),
    Action("drop garbage into the inbox", 4, _drop_garbage),
)


def make_weights(chance: random.Random) -> list[int]:
    """Weights of the actions: each seed prefers some of them, and so finds other bugs."""
    return [action.weight * chance.choice((1, 1, 1, 5)) for action in ACTIONS]


def act(world: World, weights: list[int], done: Counter[str]) -> None:
    """Choose an action and perform it; count it if it had a target."""
    (action,) = world.chance.choices(ACTIONS, weights)
    done[action.name] += action.act(world)
