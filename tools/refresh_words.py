"""Write envdoctor/rules/words.json anew: for each pattern of the rules the words without which it cannot match.

A rule's patterns are compiled only for a report that holds one of its words; compiling them all would cost more than
all else that `diagnose --from` does. The words follow from the pattern's own structure, as Python's parser of regular
expressions gives it. Run `python tools/refresh_words.py` after a pattern was changed; a test compares.
"""

from __future__ import annotations

import ast
import importlib
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

if sys.version_info >= (3, 11):
    from re import _parser as parser
else:
    import sre_parse as parser

from envdoctor.rules import FAMILIES

TABLE = Path(__file__).resolve().parent.parent / "envdoctor" / "rules" / "words.json"
_ASKING = ("said", "mentions")
# More alternatives than these take longer to look for than the pattern takes to compile.
_MOST = 24


def words_of(pattern: str) -> tuple[str, ...]:
    """Give lower-case words of which every match of the pattern holds one; empty where there are none."""
    return _best(_sequence(iter(parser.parse(pattern))))


def _sequence(nodes: Iterable[Any]) -> Iterator[tuple[str, ...]]:
    """Give sets of words, out of each of which a text must hold one."""
    run = ""
    for operation, value in nodes:
        kind = str(operation)
        if kind == "LITERAL" and (value < 128 or 0x2E80 <= value <= 0x9FFF):  # others change with their case
            run += chr(value).lower()
            continue
        yield (run,)
        run = ""
        if kind == "SUBPATTERN":
            yield from _sequence(value[3])
        elif kind in ("MAX_REPEAT", "MIN_REPEAT") and value[0] > 0:
            yield from _sequence(value[2])
        elif kind == "BRANCH":
            branches = [_best(_sequence(branch)) for branch in value[1]]
            if all(branches):
                yield tuple(sorted({word for branch in branches for word in branch}))
    yield (run,)


def _best(sets: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """Choose the words that are found least often: the longest ones."""
    long = [each for each in sets if min(map(len, each)) > 1 and len(each) <= _MOST]
    return max(long, key=lambda each: (min(map(len, each)), -len(each)), default=())


def patterns() -> dict[str, None]:
    """Give every pattern that the source of a rule names, in the order of evaluation."""
    found: dict[str, None] = {}
    for name in ("told", *FAMILIES):
        module = importlib.import_module(f"envdoctor.rules.{name}")
        found.update(dict.fromkeys(_asked(module)))
    return found


def _asked(module: ModuleType) -> Iterator[str]:
    """Give the patterns that a module asks for by constants; one that is put together while it runs is not known."""
    for node in ast.walk(ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _ASKING):
            continue
        for argument in node.args[1:]:
            starred = isinstance(argument, ast.Starred)
            inner = argument.value if isinstance(argument, ast.Starred) else argument
            try:
                value = eval(compile(ast.Expression(inner), "rule", "eval"), vars(module))
            except NameError:
                continue
            yield from value if starred else (value,)


def table() -> str:
    """Give the whole file."""
    rows = {pattern: found for pattern in patterns() if (found := words_of(pattern))}
    return json.dumps(rows, ensure_ascii=False, indent=0, separators=(",", ":")) + "\n"


if __name__ == "__main__":
    TABLE.write_text(table(), encoding="utf-8")
