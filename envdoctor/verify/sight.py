"""Sight: let an interpreter import a framework and say its version and how many GPUs it sees."""

from __future__ import annotations

import msgspec

from envdoctor.host import Host
from envdoctor.model import Record
from envdoctor.model.speech import say
from envdoctor.verify.targets import interpreter, variables

# Run by a Python of any age: one import, one line of JSON at the end, whatever the framework printed before.
_ASK = {
    "torch": """
import torch
gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
if not gpus and hasattr(torch, "xpu") and torch.xpu.is_available():
    gpus = torch.xpu.device_count()
if not gpus and hasattr(torch.backends, "mps") and torch.backends.mps.is_available():
    gpus = 1
version = torch.__version__
""",
    "tensorflow": """
import tensorflow
gpus = len(tensorflow.config.list_physical_devices("GPU"))
version = tensorflow.__version__
""",
    "jax": """
import jax
gpus = len([each for each in jax.devices() if each.platform in ("gpu", "cuda", "rocm", "METAL")])
version = jax.__version__
""",
}
FRAMEWORKS = tuple(_ASK)
_TELL = """
import json
print("\\n" + json.dumps({"version": str(version), "gpus": gpus}))
"""


class Sight(Record):
    """What a framework said; with `failed` it does not work there, with `unknown` it could not be asked."""

    version: str = ""
    gpus: int = 0
    failed: str | None = None
    unknown: str | None = None


class _Answer(msgspec.Struct):
    version: str
    gpus: int


def ask(host: Host, python: str, framework: str, timeout: float) -> Sight:
    """Import a framework with that interpreter, as its environment would when it is the active one.

    A framework that ends the interpreter, or raises, has failed; one that takes longer than `timeout` seconds is
    unknown, since a cold disk does that too.
    """
    target = interpreter(host, python)
    script = _ASK[framework] + _TELL
    try:
        done = host.run((target.executable, "-c", script), timeout, variables(target, host.environ))
    except TimeoutError:
        return Sight(
            unknown=say(
                "could not look: importing {framework} took longer than {timeout:g} s",
                framework=framework,
                timeout=timeout,
            )
        )
    except OSError as problem:
        return Sight(unknown=say("could not look: {strerror}", strerror=problem.strerror or problem))
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    try:
        answer = msgspec.json.decode(lines[-1] if done.returncode == 0 and lines else "", type=_Answer)
    except msgspec.DecodeError:
        return Sight(
            failed=say(
                "it cannot be imported by {python}: {last}", python=python, last=_last(done.stderr, done.returncode)
            )
        )
    return Sight(version=answer.version, gpus=answer.gpus)


def _last(stderr: str, status: int) -> str:
    """Give the last line that a person reads in a traceback, or how the process ended."""
    said = next((line.strip() for line in reversed(stderr.splitlines()) if line.strip()), "")
    if status < 0:
        if said:
            return say("the interpreter was ended by signal {signal} ({message})", signal=-status, message=said)
        return say("the interpreter was ended by signal {signal}", signal=-status)
    return said or say("the interpreter ended with status {status}", status=status)
