"""What chaos does, one deed at a time, each chosen by the seed."""

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
class Deed:
    """One kind of deed; ``act`` tells whether there was something to do it to."""

    name: str
    weight: int
    act: Callable[[World], bool]


def _client(world: World, *words: str) -> bool:
    if len(world.clients) >= CLIENTS_LIMIT + len(world.processes("supervisor")):
        return False
    world.command(*words)
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


def _stop_for_a_while(role: str) -> Callable[[World], bool]:
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
    asking = [client for client in world.clients if client.words[0] != "start"]
    if not asking:
        return False
    world.end(world.chance.choice(asking))
    return True


def _fill(world: World) -> bool:
    if world.disk.why_not is not None:
        return False
    world.disk.fill()
    _later(world, 1.5, world.disk.free)
    return True


def _jump(world: World) -> bool:
    if world.clock.why_not is not None:
        return False
    world.clock.jump(world.chance.choice(_JUMPS_S))
    return True


def _delete_lock(world: World) -> bool:
    try:
        os.unlink(world.layout.state_lock(TASK))
    except FileNotFoundError:
        return False
    return True


def _garbage(world: World) -> bool:
    """Something that is no request, by rename as a request comes, or in place."""
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
    except OSError:  # the disk is full just now
        return False
    return True


DEEDS: Final = (
    Deed("submit a run", 26, _submit),
    Deed("run a run", 6, _run),
    Deed("start a supervisor", 14, _start),
    Deed("start a second supervisor", 3, _second_start),
    Deed("stop the supervisor", 3, _stop),
    Deed("cancel a run", 5, _cancel),
    Deed("ask for the status", 4, _status),
    Deed("kill a command", 4, _kill_client),
    Deed("kill a supervisor", 8, _signal("supervisor", signal.SIGKILL)),
    Deed("terminate a supervisor", 2, _signal("supervisor", signal.SIGTERM)),
    Deed("stop a supervisor for a while", 4, _stop_for_a_while("supervisor")),
    Deed("kill a worker", 7, _signal("worker", signal.SIGKILL)),
    Deed("stop a worker for a while", 4, _stop_for_a_while("worker")),
    Deed("kill a stage's process", 4, _signal("stage", signal.SIGKILL)),
    Deed("fill the disk for a while", 3, _fill),
    Deed("jump the wall clock", 4, _jump),
    Deed("delete the state's lock file", 4, _delete_lock),
    Deed("drop garbage into the inbox", 4, _garbage),
)


def mood(chance: random.Random) -> list[int]:
    """The weights of one chaos: each seed favours some deeds, and finds other things."""
    return [deed.weight * chance.choice((1, 1, 1, 5)) for deed in DEEDS]


def act(world: World, weights: list[int], done: Counter[str]) -> None:
    """Choose a deed and do it; one that finds nothing to do is not counted."""
    (deed,) = world.chance.choices(DEEDS, weights)
    done[deed.name] += deed.act(world)
