"""What the workloads share: how they speak, what they run on, what they measure, and plain words for what goes wrong.

Runs inside the environment that is being proved, next to the script that imports it: Python 3.8 or newer, the standard
library and torch (1.13 or newer), nothing else. envdoctor never imports it; a person may start the scripts by hand.

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

from device import Unusable, choose, first_line, host_peak_bytes

# A float32 result may differ from the float64 one by this share of the largest value. float32 keeps 2^-24 = 6e-8 of a
# number and a few thousand summands make about 1e-6 of it; TF32 keeps 2^-11 = 5e-4, and must not pass for float32.
RELATIVE_TOLERANCE = 1e-4

OUT_OF_MEMORY = re.compile(r"out of memory|can't allocate memory|not enough memory|ALLOC_FAILED", re.IGNORECASE)
REQUESTED = re.compile(r"tried to allocate ([\d.]+ ?(?:[KMGT]i?B|bytes))", re.IGNORECASE)


class Ended(Exception):
    """Somebody asked this process to end."""


class Run:
    """One workload: its options, its voice, and what it found out."""

    def __init__(self, workload, framework):
        parser = argparse.ArgumentParser(description="Prove that %s works here: %s." % (framework, workload))
        parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps", "xpu"), default="auto")
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("--quick", action="store_true", help="fewer steps")
        options = parser.parse_args()
        self.seed = options.seed
        self.quick = options.quick
        self.wanted = options.device
        self.started = time.perf_counter()
        self.stage = "start"
        self.device = None
        self.metrics = {}
        self.largest_share = -1.0  # of its tolerance that an error took up
        self.outcome = {
            "workload": workload,
            "framework": framework,
            "device": options.device,
            "status": "not-run",
            "reason": None,
            "hint": None,
            "framework_version": None,
            "device_name": None,
            "metrics": self.metrics,
            "checks": [],
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

    def measured(self, name, value):
        """Write down a measurement; one that is not finite is left out, since JSON cannot hold it."""
        self.metrics[name] = value if not isinstance(value, float) or math.isfinite(value) else None

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

    def use(self, torch):
        """Choose the device, prove it with a small calculation, and seed every generator."""
        self.outcome["framework_version"] = str(torch.__version__)
        self.device = choose(torch, self.wanted)
        self.outcome["device"] = self.device.kind
        self.outcome["device_name"] = self.device.name
        self.device.prove()
        torch.manual_seed(self.seed)
        return self.device

    def agree(self, name, actual, reference, relative=RELATIVE_TOLERANCE):
        """Check a result against its reference: no value may be further off than this share of the largest one.

        Of the strict comparisons, the one nearest to its tolerance enters the metrics.
        """
        reference = reference.detach().cpu().double()
        scale = reference.abs().max().item()
        error = (actual.detach().cpu().double() - reference).abs().max().item()
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
        self.check("loss falls", last <= ratio * first, "at most %.3g" % (ratio * first), "%.3g" % last)

    def speed(self, once, items, unit, seconds):
        """Measure throughput: `once` handles `items` of them; repeated for about that long after one warm-up."""
        once()
        self.device.sync()
        begun, rounds, spent = time.perf_counter(), 0, 0.0
        while spent < seconds or rounds < 3:
            once()
            self.device.sync()
            rounds += 1
            spent = time.perf_counter() - begun
            self.progress("speed", min(100, int(100 * spent / seconds)), 100)
        self.measured("throughput", rounds * items / spent)
        self.measured("unit", unit)


def train(torch, run, model, batches, loss_of, optimizer):
    """Train on the batches; gives the loss of every step and whether all gradients were finite."""
    losses, finite = [], True
    for step, batch in enumerate(batches):
        optimizer.zero_grad()
        loss = loss_of(model, batch)
        loss.backward()
        norms = torch.stack([part.grad.norm() for part in model.parameters() if part.grad is not None])
        finite = finite and bool(torch.isfinite(norms).all())
        optimizer.step()
        losses.append(loss.item())
        run.progress("train", step + 1, len(batches))
    return losses, finite


def explain(problem, run):
    """Turn what was raised into a status, a reason and a hint."""
    words = first_line(problem)
    if isinstance(problem, Unusable):
        return "failed", problem.reason, problem.hint
    if isinstance(problem, Ended):
        return "crashed", "it was asked to end (SIGTERM) in the stage '%s'" % run.stage, None
    if isinstance(problem, KeyboardInterrupt):
        return "crashed", "it was interrupted in the stage '%s'" % run.stage, None
    named = any(kind.__name__ == "OutOfMemoryError" for kind in type(problem).__mro__)
    if named or isinstance(problem, MemoryError) or (isinstance(problem, RuntimeError) and OUT_OF_MEMORY.search(words)):
        return "out-of-memory", _memory_reason(str(problem), run), "end other programs that hold memory, then try again"
    if "no kernel image is available" in words:
        return "failed", _no_code(run), "`envdoctor provision` chooses a build of torch that has code for this card"
    return "crashed", "%s in the stage '%s': %s" % (type(problem).__name__, run.stage, words), None


def _memory_reason(words, run):
    requested = REQUESTED.search(words.replace("bytes.", "bytes"))
    parts = ["memory ran out in the stage '%s'" % run.stage]
    if requested:
        parts.append("one more piece of %s could not be had" % readable(requested.group(1)))
    device, peak = run.device, host_peak_bytes()
    if device is not None and device.kind == "cuda":
        try:
            free, total = device.torch.cuda.mem_get_info()
            parts.append("%s has %s, of which %s are free" % (device.name, size(total), size(free)))
        except RuntimeError:
            pass  # a card in trouble answers nothing more
    elif peak is not None:
        parts.append("the process held at most %s" % size(peak))
    return "; ".join(parts)


def _no_code(run):
    torch, name = run.device.torch, run.device.name
    built = " ".join(torch.cuda.get_arch_list()) or "none"
    return "this torch has no code for %s (sm_%d%d): it was built for %s (CUDA calls this: no kernel image)" % (
        (name, *torch.cuda.get_device_capability(0), built)
    )


def size(count):
    """Write a number of bytes as people do."""
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return "%.4g %s" % (count, unit)
        count /= 1024
    return "%.2f GiB" % count


def readable(text):
    """Rewrite a plain count of bytes; other texts already have a unit."""
    number, _, unit = text.partition(" ")
    return size(int(number)) if unit == "bytes" and number.isdigit() else text


def _end(signum, frame):
    raise Ended()
