"""What pip, uv, conda and Python print when no package fits the interpreter, or it lies in another one."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.told import mentions, said

PIP = "https://packaging.python.org/en/latest/specifications/platform-compatibility-tags/"
_NO_VERSION = r"(?i)Could not find a version that satisfies the requirement ([\w.-]+)"
_FRAMEWORK = (
    r"(?i)torch|tensorflow|tf-nightly|jax|onnxruntime|vllm|xformers|flash|triton|mxnet|paddle|cupy|bitsandbytes|numpy"
)


@rule(
    "MSG701",
    "python-32bit",
    "error",
    needs=("problems",),
    supersedes=("MSG702", "PY005", "MSG703"),
    sources=(PIP,),
)
def thirty_two(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """Python is a 32-bit program, and the frameworks have 64-bit wheels only.

    pip offers what fits the interpreter, not the operating system; for a 32-bit one there is nothing.

    Check: `python -c "import struct; print(struct.calcsize('P') * 8)"` prints 64.
    """
    line = said(
        machine,
        r"(?i)sys\.version[^\n]{0,120}\b32[ -]bit",
        r"(?i)python[^\n]{0,80}\[MSC v\.\d+ 32 bit",
        r"(?i)python ?\d?\.?\d*[^\n]{0,30}\b32[ -]?bit\b(?! and)",
        r"(?i)Python\d{2,3}-32\b",
        r"(?i)\bcp\d+m?-win32\b",
        r"(?i)\barmv[67]l\b|raspberry pi os[^\n]{0,6}32",
        r"(?i)calcsize\([^\n]{0,24}\n?[^\n]{0,8}\b(?:32|4)\b|architecture\(\)[^\n]{0,10}\n?[^\n]{0,6}'32bit'",
    )
    bits = machine.python.bits if machine.python else None
    if line is None and bits == 32:
        line = said(machine, _NO_VERSION, r"(?i)No matching distribution found", r"(?i)is not a supported wheel")
    if line is None or not (
        bits == 32
        or mentions(machine, r"no matching distribution|could not find a version|not a supported wheel|from versions")
    ):
        return
    yield found(
        say("Python is the 32-bit one, for which no wheel of the framework exists"),
        say("Both can be installed on the same 64-bit Windows."),
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary=say(
                    "Install the 64-bit Python of a version that the package supports, and make a new environment "
                    "with it."
                ),
                effect="changes-env",
            ),
        ),
    )


@rule(
    "MSG703",
    "wrong-python-interpreter",
    "error",
    certainty="likely",
    needs=("problems",),
    sources=(PIP, "https://docs.python.org/3/library/venv.html"),
)
def wrong_python(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The package is, or is to be, in another Python than the one that is meant.

    pip belongs to one interpreter. A wheel's tag names its Python, cp36 for 3.6, and pip of another one refuses the
    file. What one pip installed, another Python does not find.

    Check: `python -m pip --version` and `python -c "import sys; print(sys.executable)"`.
    """
    line = said(machine, r"(?i)[\w.+-]+-cp(\d{2,3})-\S+\.whl is not a supported wheel on this platform")
    if line is None and said(machine, r"(?i)No module named ['\"]?(?:torch|tensorflow|jax|vllm|numpy)"):
        line = said(
            machine,
            r"(?i)Requirement already satisfied: (?:torch|tensorflow|jax|vllm|numpy)",
            r"(?m)^Name: (?:torch|tensorflow|jax|vllm|numpy)",
            r"(?i)(?:pip3?|conda) (?:list|show)[^\n]{0,40}(?:torch|tensorflow|jax)",
            r"(?i)(?:which|where|whereis) (?:i?python|pip|jupyter)\d?[^\n]*",
            r"(?i)sys\.executable[^\n]*",
            r"(?i)Successfully installed[^\n]{0,200}(?:torch|tensorflow|jax)",
            r"(?m)^(?:torch|tensorflow\S*|jax) +\d\S+",
            r"(?m)\bpip [\d.]+ from [^\n]{3,120}\(python",
            r"(?i)(?:installed|installing)[^\n]{0,80}python2\.7",
        )
    if line is None:
        # The file of a module, asked for: one of the user's folder, which comes before an environment of conda's.
        line = said(
            machine,
            r"__file__\)?[\"']?[^\n]{0,6}\n?[^\n]{0,60}[/\\](?:\.local[/\\]lib|AppData[/\\]Roaming[/\\]Python)[/\\]",
        )
    if line is None:
        return
    yield found(
        say("The package belongs to another Python than the one that runs"),
        say("pip and python on PATH are of different interpreters, or the wheel is for another version of Python."),
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary=say(
                    "Install and run with one interpreter: PYTHON -m pip install …, with the Python that the wheel's "
                    "tag names."
                )
            ),
        ),
    )


@rule(
    "MSG702",
    "python-without-wheel",
    "error",
    needs=("problems",),
    supersedes=("PY001", "PY002", "TF005"),
    sources=(PIP, "https://pip.pypa.io/en/stable/cli/pip_install/"),
)
def no_wheel(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """No wheel of the wanted release exists for this Python.

    pip lists as "from versions" what it could install with this interpreter on this platform. An empty list, or one
    that ends before the wanted release, means that the Python is too new or too old for it, or the platform unknown.

    Check: the files of that release on the package index have a tag for this Python.
    Silent for a Python of 32 bits and a connection that failed, which have messages of their own.
    """
    line = said(
        machine,
        r"(?i)requires a different Python: (\S+) not in",
        r"(?i)Ignored the following versions that require a different python version",
    )
    missing = said(machine, _NO_VERSION, r"(?i)No matching distribution found for ([\w.-]+)")
    if (
        line is None
        and missing
        and mentions(machine, _FRAMEWORK)
        and not mentions(machine, r"NewConnectionError|ProxyError|SSLError|Temporary failure in name|ConnectTimeout")
    ):
        line = missing
    if line is None:
        line = said(
            machine,
            r"(?i)no (?:wheel|binary|matching|compatible)[^\n]{0,40} for (?:your )?(?:python|cp)\D{0,3}\d",
            r"(?i)has no wheels with a matching Python (?:ABI|version|implementation)[^\n]{0,60}",
            r"(?i)You're using [^\n]{0,40}but [^\n]{0,60}only has wheels with the following Python",
            r"(?i)Unable to find installation candidates for",
            rf"PackagesNotFoundError[^\n]{{0,120}}(?:\n[^\n]{{0,60}}){{0,3}}{_FRAMEWORK[4:].join(('(?:', ')'))}",
            r"(?i)Cannot install on Python version [^\n]{0,60}only versions",
            r"(?i)\bpython(?:_abi)? [^\n]{0,60}(?:which conflicts|none of the providers|is not installable)[^\n]{0,60}",
            r"(?i)because (?:the requested Python version|only)[^\n]{0,80}(?:python)[^\n]{0,60}",
            r"(?i)python(?: |-|_)?(?:version )?3\.\d+[^\n]{0,40}(?:is )?(?:not (?:yet )?supported|unsupported|too new)",
            (
                r"(?i)(?:pytorch|tensorflow|torch)\S*[^\n]{0,40} -> python\[version='[^\n]{0,60}|"
                r"requires python (?:>=|<|==)?\d"
            ),
        )
    if line is None:
        return
    version = machine.python.version if machine.python else None
    yield found(
        say("No wheel of the wanted release exists for this Python {version}", version=version)
        if version
        else say("No wheel of the wanted release exists for this Python"),
        say("pip offers only what fits the interpreter and the platform."),
        evidence=(line.evidence,),
        certainty="certain" if "different" in line.words[0] else "likely",
        fixes=(
            Fix(
                summary=say(
                    "Make an environment with a Python version that the release has wheels for, or take a release "
                    "that has one for this Python."
                ),
                commands=(("envdoctor", "provision"),),
                effect="changes-env",
            ),
        ),
    )
