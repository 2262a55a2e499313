"""What a workload runs on: choosing it, proving it with a small calculation, waiting for it, and its memory."""

import contextlib
import sys

from machine import Unusable, cpu_name, first_line, host_peak_bytes, size


class Device:
    """What the work runs on."""

    def __init__(self, torch, kind):
        self.torch = torch
        self.kind = kind
        self.library = getattr(torch, kind, None)  # torch.cuda, torch.mps, torch.xpu
        self.name = self.library.get_device_name(0) if kind in ("cuda", "xpu") else cpu_name()

    def prove(self):
        """Run two small kernels: a build without code for this card fails here and not in the middle of the work."""
        ones = self.torch.ones(16, 16, device=self.kind)
        total = ((ones * 2) @ ones).sum().item()
        if total != 16 * 16 * 32:
            raise Unusable("%s adds wrongly: %r instead of 8192" % (self.name, total))

    def sync(self):
        """Wait until the device has done what it was given."""
        if self.kind != "cpu" and hasattr(self.library, "synchronize"):
            self.library.synchronize()

    def peak_bytes(self):
        """Give the most memory held so far: what torch allocated on the card, or the whole process on a CPU."""
        if self.kind in ("cuda", "xpu"):
            try:
                return self.library.max_memory_allocated()
            except (AttributeError, RuntimeError):
                return None
        if self.kind == "mps":
            return self.library.driver_allocated_memory() if hasattr(self.library, "driver_allocated_memory") else None
        return host_peak_bytes()

    def room(self):
        """Tell how much memory the device has and how much of it is free, for a person; nothing if it does not say."""
        if self.kind != "cuda":
            return []
        try:
            free, total = self.library.mem_get_info()
        except RuntimeError:
            return []  # a card in trouble answers nothing more
        return ["%s has %s, of which %s are free" % (self.name, size(total), size(free))]

    def no_code(self):
        """Say that this build has no machine code for this card."""
        built = " ".join(self.library.get_arch_list()) or "none"
        return "this torch has no code for %s (sm_%d%d): it was built for %s (CUDA calls this: no kernel image)" % (
            (self.name, *self.library.get_device_capability(0), built)
        )

    @contextlib.contextmanager
    def exact(self):
        """Switch TF32 off inside: it would be compared with a float64 result and found wanting, though it works."""
        if self.kind != "cuda":
            yield
            return
        matmul, cudnn = self.torch.backends.cuda.matmul, self.torch.backends.cudnn
        before = matmul.allow_tf32, cudnn.allow_tf32
        matmul.allow_tf32, cudnn.allow_tf32 = False, False
        try:
            yield
        finally:
            matmul.allow_tf32, cudnn.allow_tf32 = before


def choose(torch, wanted):
    """Choose the device: the one wanted, else the first accelerator that torch sees, else the CPU."""
    for kind in ("cuda", "mps", "xpu", "cpu") if wanted == "auto" else (wanted,):
        if available(torch, kind):
            return Device(torch, kind)
    raise Unusable(why_not(torch, wanted), "envdoctor diagnose --python %s" % sys.executable)


def available(torch, kind):
    """Tell whether torch sees such a device."""
    if kind == "cpu":
        return True
    library = getattr(torch.backends, "mps", None) if kind == "mps" else getattr(torch, kind, None)
    return bool(library and library.is_available())


def why_not(torch, kind):
    """Say why torch does not see a device, in its own words where it has some."""
    if kind == "cuda":
        if torch.version.cuda is None and getattr(torch.version, "hip", None) is None:
            return "torch %s is a CPU build: it cannot use a CUDA device" % torch.__version__
        try:
            torch.cuda.init()
        except (RuntimeError, AssertionError) as problem:
            return "torch %s sees no CUDA device: %s" % (torch.__version__, first_line(problem))
    return "torch %s sees no %s device" % (torch.__version__, kind)
