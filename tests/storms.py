"""Programs that start processes faster than somebody who lists them can look."""

# Each process lives for a moment, starts the next and ends: whoever lists pids is always late.
CHAIN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
own = sys.argv[1] == "own"
for _ in range(8):
    if os.fork() == 0:
        break
else:
    time.sleep(600)
until = time.monotonic() + 60
while time.monotonic() < until:
    if own:
        try:
            os.setsid()
        except OSError:
            pass
    if os.fork():
        os._exit(0)
"""

# Every process becomes two, seven times over; none of them obeys.
TREE = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for _ in range(7):
    if os.fork() == 0 and sys.argv[1] == "own":
        os.setsid()
os.write(os.open("grown", os.O_WRONLY | os.O_APPEND | os.O_CREAT), b".")
time.sleep(600)
"""
