import ast
import json
import subprocess
import sys

from envdoctor.host import inside


def test_it_tells_where_the_running_python_lives() -> None:
    done = subprocess.run([sys.executable, "-I", inside.__file__], capture_output=True, text=True, check=True)

    told = json.loads(done.stdout)

    assert told["version"] == ".".join(map(str, sys.version_info[:3]))
    assert told["prefix"] == sys.prefix
    assert told["base_prefix"] == sys.base_prefix
    assert [d for d in sys.path if d.endswith("site-packages")][-1] in told["site_dirs"]
    with open(told["binary"], "rb") as program:
        assert program.read(4) == b"\x7fELF"


def test_an_old_python_can_run_it() -> None:
    with open(inside.__file__) as script:
        tree = ast.parse(script.read(), feature_version=(3, 7))

    assert "facts" in [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
