"""Tell whether the framework is in its place, and whether the GPUs that were handed in still answer.

For HEALTHCHECK: python health.py torch. It asks the driver and starts no framework, so it takes tens of milliseconds
and no memory of a GPU that is busy. Without a GPU a container is healthy. Ends with 0 or 1, and one line of why.
"""

import ctypes
import importlib.util
import os
import sys

NVIDIA = ("/dev/nvidiactl", "/dev/dxg")  # the second one in WSL 2
AMD = "/dev/kfd"


def framework(name):
    """Give what keeps a package from being imported; None: nothing does."""
    return None if importlib.util.find_spec(name) else f"{sys.executable} finds no {name}"


def nvidia(devices=NVIDIA, library="libcuda.so.1"):
    """Give why the driver offers no GPU although one was handed in; None: it offers some, or none was handed in."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not any(map(os.path.exists, devices)) or hidden in ("", "-1"):
        return None
    try:
        driver = ctypes.CDLL(library)
    except OSError as problem:
        return f"the GPU's device files are here and the driver's library is not ({problem})"
    status = driver.cuInit(0)
    if status:
        return f"the GPU was handed in and is lost: cuInit gives error {status}; restart the container"
    count = ctypes.c_int(0)
    status = driver.cuDeviceGetCount(ctypes.byref(count))
    if status or not count.value:
        return f"the driver offers no GPU (error {status}); restart the container"
    return None


def amd(device=AMD):
    """Give why an AMD GPU that was handed in cannot be used; None: it can, or none was handed in."""
    if os.path.exists(device) and not os.access(device, os.R_OK | os.W_OK):
        return f"{device} is here and may not be opened: add --group-add video, or the group render"
    return None


if __name__ == "__main__":
    problems = [each for each in (framework(sys.argv[1]), nvidia(), amd()) if each]
    sys.stdout.write(("; ".join(problems) or "healthy") + "\n")
    sys.exit(bool(problems))
