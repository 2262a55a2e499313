"""The process: hands the words to the command line and leaves with its exit status."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line of this process and leave with its exit status."""
    if sys.argv[1:] in (["--help"], ["-h"]) and sys.stdout:
        # People meet this page first and often. Importing click to draw it costs three bare interpreters, so it is kept
        # as click draws it (tools/refresh_help.py; a test compares).
        with open(__file__.rpartition("__main__.py")[0] + "cli/help.txt", encoding="utf-8") as page:
            text = page.read()
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except BrokenPipeError:  # `envdoctor --help | head -3`
            sys.stderr.close()
        return
    from envdoctor.cli import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
