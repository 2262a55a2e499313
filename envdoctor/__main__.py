"""The process: starts the command line, and turns whatever happens into one line and an exit status."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line of this process and leave with its exit status."""
    from envdoctor.cli import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
