"""How a workload speaks: its options, its progress, its checks, its one result, and plain words for what goes wrong.

Runs inside the environment that is being proved: Python 3.8 or newer and the standard library. envdoctor never imports
it; a person may start the workloads by hand. Every workload takes the same options:

    --device auto|cpu|cuda|mps|xpu   what it runs on; auto takes an accelerator where the framework sees one
    --seed N                         of every generator
    --quick                          fewer steps: a shorter and weaker proof
    --thorough                       also other precisions, checkpoints, compilers and several devices
    --model NAME                     another network of the same family

What is said: one JSON object a line on stdout, `{"progress": {"stage": "train", "done": 3, "total": 8}}` while it
runs and exactly one `{"outcome": {...}}` at the end. Whatever libraries print goes to stderr. The exit status is 0 only
for a pass.
"""

import argparse
import contextlib
import json
import math
import os
import re
import signal
import sys
import time
import traceback

from machine import Unusable, first_line, host_peak_bytes, memory_limit, readable, size

OUT_OF_MEMORY = re.compile(
    r"out of memory|can't allocate memory|not enough memory|ALLOC_FAILED|RESOURCE_EXHAUSTED|OOM when allocating"
    r"|failed to allocate memory|Dst tensor is not initialized",  # TensorFlow's words for a copy that found no room
    re.IGNORECASE,
)
# A float32 result may differ from the float64 one by this share of the largest value. float32 keeps 2^-24 = 6e-8 of a
# number and a few thousand summands make about 1e-6 of it; TF32 keeps 2^-11 = 5e-4, and must not pass for float32.
RELATIVE_TOLERANCE = 1e-4

# torch, JAX and numpy, in their own words.
REQUESTED = re.compile(
    r"(?:tried to allocate|trying to allocate|out of memory allocating|unable to allocate) "
    r"([\d.]+ ?(?:[KMGT]i?B|bytes))",
    re.IGNORECASE,
)


class Ended(Exception):
    """Somebody asked this process to end."""


class Run:
    """One workload: its options, its voice, and what it found out."""

    def __init__(self, workload, framework, models):
        parser = argparse.ArgumentParser(description="Prove that %s works here: %s." % (framework, workload))
        parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps", "xpu"), default="auto")
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("--quick", action="store_true", help="fewer steps")
        parser.add_argument("--thorough", action="store_true", help="also precisions, checkpoints, compilers, devices")
        parser.add_argument("--model", choices=models, help="default: %s" % models[0])
        options = parser.parse_args()
        self.seed = options.seed
        self.quick = options.quick
        self.thorough = options.thorough
        self.model = options.model or models[0]
        self.wanted = options.device
        self.started = time.perf_counter()
        self.stage = "start"
        self.device = None
        self.metrics = {}
        self.largest_share = -1.0  # of its tolerance that an error took up
        self.outcome = {
            "workload": options.model or workload,
            "framework": framework,
            "device": options.device,
            "status": "not-run",
            "reason": None,
            "hint": None,
            "framework_version": None,
            "device_name": None,
            "metrics": self.metrics,
            "checks": [],
            "trials": [],
            "answer": None,
        }
        # Libraries, C code included, print to descriptor 1: it becomes stderr, and only this object knows stdout.
        sys.stdout.flush()
        self.voice = os.dup(1)
        os.dup2(2, 1)
        signal.signal(signal.SIGTERM, _end)

    def say(self, message):
        """Write one line. A reader that has left ends this process: nobody waits for the result."""
        line = (json.dumps(message, allow_nan=False) + "\n").encode()
        try:
            while line:
                line = line[os.write(self.voice, line) :]
        except BrokenPipeError:
            os._exit(1)

    def progress(self, stage, done, total):
        """Tell how far a stage has come."""
        self.stage = stage
        self.say({"progress": {"stage": stage, "done": done, "total": total}})

    def check(self, name, passed, expected, actual):
        """Write down one thing that had to be true."""
        self.outcome["checks"].append(
            {"name": name, "passed": bool(passed), "expected": str(expected), "actual": str(actual)}
        )

    def tried(self, name, throughput=None, unit=None):
        """Write down something beside the main proof that was run here, and how fast it was."""
        self.outcome["trials"].append({"name": name, "ran": True, "throughput": throughput, "unit": unit})

    def left_out(self, name, why):
        """Write down something that was not run here, and why."""
        self.outcome["trials"].append({"name": name, "ran": False, "reason": why})

    def measured(self, name, value):
        """Write down a measurement; one that is not finite is left out, since JSON cannot hold it."""
        self.metrics[name] = value if not isinstance(value, float) or math.isfinite(value) else None

    def answered(self, text):
        """Write down what a trained network said."""
        self.outcome["answer"] = text

    @contextlib.contextmanager
    def importing(self):
        """Import the framework inside; a failure becomes the outcome."""
        framework = self.outcome["framework"]
        try:
            self.progress("import", 0, 1)
            yield
            self.progress("import", 1, 1)
        except ModuleNotFoundError as problem:
            if problem.name == framework:
                problem = Unusable(
                    "%s is not installed in %s" % (framework, sys.executable),
                    "install it with: %s -m pip install %s" % (sys.executable, framework),
                )
            else:
                problem = Unusable(
                    "%s is installed, but %s, which it needs, is not" % (framework, problem.name),
                    "install it with: %s -m pip install %s" % (sys.executable, problem.name),
                )
            self._give_up(problem)
        except (ImportError, OSError) as problem:
            self._give_up(
                Unusable(
                    "%s is installed but cannot be imported: %s" % (framework, first_line(problem)),
                    "envdoctor diagnose --python %s" % sys.executable,
                )
            )
        except BaseException as problem:
            self._give_up(problem)

    def _give_up(self, problem):
        sys.exit(self._conclude(problem))

    def through(self, work):
        """Do the work, say the outcome, and give the exit status."""
        problem = None
        try:
            work(self)
        except BaseException as raised:  # whatever it is, it is the outcome
            problem = raised
        return self._conclude(problem)

    def _conclude(self, problem):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the last line must come out whole
        outcome = self.outcome
        if problem is not None:
            traceback.print_exception(type(problem), problem, problem.__traceback__)
            outcome["status"], outcome["reason"], outcome["hint"] = explain(problem, self)
        else:
            failed = [check for check in outcome["checks"] if not check["passed"]]
            outcome["status"] = "passed" if outcome["checks"] and not failed else "failed"
            if failed:
                outcome["reason"] = "; ".join(
                    "%s: expected %s, got %s" % (check["name"], check["expected"], check["actual"]) for check in failed
                )
        if self.device is not None:
            self.measured("peak_memory_bytes", self.device.peak_bytes())
        self.measured("seconds", time.perf_counter() - self.started)
        self.say({"outcome": outcome})
        return 0 if outcome["status"] == "passed" else 1

    def within(self, name, error, scale, relative=RELATIVE_TOLERANCE):
        """Check a result against its reference: no value may be further off than this share of the largest one.

        Of the strict comparisons, the one nearest to its tolerance enters the metrics.
        """
        tolerance = relative * scale
        # A reference of zeros would prove nothing, and a NaN is never below a tolerance.
        self.check(name, scale > 0 and error <= tolerance, "error of at most %.3g" % tolerance, "%.3g" % error)
        share = error / tolerance if tolerance > 0 else math.inf
        if relative == RELATIVE_TOLERANCE and not share <= self.largest_share:
            self.largest_share = share
            self.measured("tolerance", tolerance)
            self.measured("max_abs_error", error)

    def fell(self, losses, ratio):
        """Check that the loss fell: the mean of the last quarter of the steps is at most `ratio` of the first's."""
        part = max(1, len(losses) // 4)
        first, last = sum(losses[:part]) / part, sum(losses[-part:]) / part
        self.measured("loss_first", first)
        self.measured("loss_last", last)
        if all(math.isfinite(loss) for loss in losses):
            self.measured("losses", [float("%.6g" % loss) for loss in losses])
        self.check("loss falls", last <= ratio * first, "at most %.3g" % (ratio * first), "%.3g" % last)

    def speed(self, once, items, unit, seconds):
        """Measure throughput: `once` handles `items` of them; repeated for about that long after one warm-up."""
        self.measured("throughput", self.pace(once, items, seconds))
        self.measured("unit", unit)

    def pace(self, once, items, seconds):
        """Give how many items a second `once` handles."""
        once()
        self.device.sync()
        begun, rounds, spent = time.perf_counter(), 0, 0.0
        while spent < seconds or rounds < 3:
            once()
            self.device.sync()
            rounds += 1
            spent = time.perf_counter() - begun
            self.progress("speed", min(100, int(100 * spent / seconds)), 100)
        return rounds * items / spent


def explain(problem, run):
    """Turn what was raised into a status, a reason and a hint."""
    words = first_line(problem)
    if isinstance(problem, Unusable):
        return problem.status, problem.reason, problem.hint
    if isinstance(problem, Ended):
        return "crashed", "it was asked to end (SIGTERM) in the stage '%s'" % run.stage, None
    if isinstance(problem, KeyboardInterrupt):
        return "crashed", "it was interrupted in the stage '%s'" % run.stage, None
    kinds = {kind.__name__ for kind in type(problem).__mro__}
    named = kinds & {"OutOfMemoryError", "ResourceExhaustedError", "MemoryError"}
    # RuntimeError is torch's and JAX's, OpError TensorFlow's.
    if named or (kinds & {"RuntimeError", "OpError"} and OUT_OF_MEMORY.search(str(problem))):
        run.outcome["shortage"] = shortage(problem)
        return "out-of-memory", _memory_reason(str(problem), run), "end other programs that hold memory, then try again"
    if "no kernel image is available" in words:
        return "failed", run.device.no_code(), "`envdoctor provision` chooses a build that has code for this card"
    return "crashed", "%s in the stage '%s': %s" % (type(problem).__name__, run.stage, words), None


def shortage(problem):
    """Tell what Python was doing when memory ran out, and the allocator's own words."""
    names = [frame.name for frame in traceback.extract_tb(problem.__traceback__)]
    moments = {"backward": "backward", "step": "optimizer", "apply_gradients": "optimizer", "forward": "forward"}
    moments.update(dict.fromkeys(("_apply", "build", "placed", "weights"), "weights"))
    found = [moments[name] for name in names if name in moments]
    return {"moment": found[-1] if found else None, "words": str(problem)[:4000], "limit_bytes": memory_limit()}


def _memory_reason(words, run):
    requested = REQUESTED.search(words.replace("bytes.", "bytes"))
    parts = ["memory ran out in the stage '%s'" % run.stage]
    if requested:
        parts.append("one more piece of %s could not be had" % readable(requested.group(1)))
    peak = host_peak_bytes()
    if run.device is not None and run.device.kind != "cpu":
        parts += run.device.room()
    elif peak is not None:
        parts.append("the process held at most %s" % size(peak))
    return "; ".join(parts)


def _end(signum, frame):
    raise Ended()
