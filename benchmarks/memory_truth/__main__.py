"""Make rows of true peak memory: in benchmarks/, `PYTHON -m memory_truth [--out FILE] [--only TEXT] [ROW ...]`.

Without a ROW the list of `rows.py` is made. A ROW is JSON, such as '{"model": "vgg16", "batch": 8, "resolution": 224}'.
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

from memory_truth import fake_cuda
from memory_truth.rows import ROWS


def main() -> int:
    """Print a line a row; returns 1 where a row could not be made."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("rows", nargs="*", metavar="ROW")
    options.add_argument(
        "--out", type=Path, help="add the rows to this file, one a line; those in it are not made anew"
    )
    options.add_argument("--only", default="", help="rows whose JSON has this text")
    asked = options.parse_args()
    rows = [json.loads(row) for row in asked.rows] or ROWS
    rows = [row for row in rows if asked.only in json.dumps(row)]
    made: list[dict[str, Any]] = json.loads(asked.out.read_text()) if asked.out and asked.out.exists() else []
    rows = [row for row in rows if not any(row.items() <= old.items() for old in made)]
    warnings.filterwarnings("ignore")
    fake_cuda.install()
    from memory_truth import attention
    from memory_truth.measure import measure

    attention.install()
    failed = 0
    for row in rows:
        try:
            made.append(measure(row))
        except Exception:
            failed += 1
            print(f"no row for {json.dumps(row)}\n{traceback.format_exc()}", file=sys.stderr)
            continue
        lines = [json.dumps(each) for each in made]
        print(lines[-1], flush=True)
        if asked.out:
            asked.out.write_text("[\n" + ",\n".join(lines) + "\n]\n")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
