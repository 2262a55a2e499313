"""What the machine says of itself, and plain words for numbers and exceptions."""

import platform
import sys


class Unusable(Exception):
    """The environment cannot do the work at all; says why and what to do."""

    status = "failed"

    def __init__(self, reason, hint=None):
        super().__init__(reason)
        self.reason = reason
        self.hint = hint


class Absent(Unusable):
    """What the work is done with is not here and cannot be had; the environment is not to blame."""

    status = "not-run"


def host_peak_bytes():
    """Give the most memory this process ever held; None where the system does not say.

    VmHWM first: getrusage also counts what the parent held before this program replaced it.
    """
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        import resource  # Windows has none
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def memory_limit():
    """Give what the system allows this process in private memory (ulimit -d, ulimit -v); None: it sets no limit."""
    try:
        import resource  # Windows has none
    except ImportError:
        return None
    names = [name for name in ("RLIMIT_DATA", "RLIMIT_AS") if hasattr(resource, name)]
    limits = [resource.getrlimit(getattr(resource, name))[0] for name in names]
    limits = [limit for limit in limits if limit != resource.RLIM_INFINITY and limit >= 0]
    return min(limits) if limits else None


def cpu_name():
    """Give the processor's name as the system writes it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def first_line(problem):
    """Give what an exception says, without the stack that some libraries put below it."""
    lines = str(problem).strip().splitlines()
    return lines[0][:300] if lines else type(problem).__name__


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
