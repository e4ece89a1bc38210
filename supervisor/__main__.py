"""The command ``supervisor``, also as ``python -m supervisor``."""

import sys

from supervisor.version import VERSION


def main() -> None:
    """Run the command line; what scripts ask most often needs nothing of it."""
    if sys.argv[1:] == ["--version"]:
        print(f"supervisor, version {VERSION}")
        return
    from supervisor.cli import main as run

    run()


if __name__ == "__main__":
    main()
