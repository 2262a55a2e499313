"""Run everything that must be true of a checkout: format, lint, types, import direction, tests.

Usage: python tools/check.py [pytest arguments]
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sysconfig.get_path("scripts"))

CHECKS = (
    (str(BIN / "ruff"), "format", "--check", "."),
    (str(BIN / "ruff"), "check", "."),
    (str(BIN / "mypy"),),
    (str(BIN / "lint-imports"),),
)


def main() -> int:
    """Run the checks in order of their cost; the first that fails ends it."""
    for command in (*CHECKS, (sys.executable, "-m", "pytest", *sys.argv[1:])):
        print(f"== {' '.join(Path(word).name if word == command[0] else word for word in command)}", flush=True)
        status = subprocess.run(command, cwd=ROOT, check=False).returncode
        if status:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
