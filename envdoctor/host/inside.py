"""Run by the Python that is being looked at: print as JSON where it lives. Standard library only, Python 3.7 or newer.

Asked only where files do not tell: behind a wrapper script, or in a layout nobody has seen.
"""

from __future__ import annotations

import json
import os
import site
import sys


def facts() -> dict[str, object]:
    """Give version, prefixes, the running binary and the site folders, in the order of sys.path."""
    try:
        binary = os.readlink("/proc/self/exe")
    except OSError:
        binary = os.path.realpath(sys.executable)
    wanted = {os.path.realpath(folder) for folder in site.getsitepackages()}
    return {
        "version": ".".join(str(part) for part in sys.version_info[:3]),
        "prefix": sys.prefix,
        "base_prefix": sys.base_prefix,
        "binary": binary,
        "site_dirs": [folder for folder in sys.path if os.path.realpath(folder) in wanted],
    }


if __name__ == "__main__":
    json.dump(facts(), sys.stdout)
