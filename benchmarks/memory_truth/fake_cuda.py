"""Give a CPU build of torch one CUDA device for fake tensors; call `install` before anything imports torch."""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import subprocess
import sys
from pathlib import Path

_SOURCE = Path(__file__).with_name("fake_cuda.cpp")
_KEPT: list[object] = []  # kernels are registered for as long as their library lives


def install() -> None:
    """Compile the guard if this environment has none yet, load it, and only then import torch.

    Raises:
        RuntimeError: torch is imported already, or is not installed.
        subprocess.CalledProcessError: g++ refused.
    """
    if "torch" in sys.modules:
        raise RuntimeError("fake_cuda.install() must come before the first import of torch")
    found = importlib.util.find_spec("torch")
    if found is None or found.origin is None:
        raise RuntimeError("this interpreter has no torch: pip install torch transformers peft")
    home = Path(found.origin).parent
    library = _compiled(home)
    for name in ("libgomp.so.1", "libc10.so", "libtorch_cpu.so"):
        if (home / "lib" / name).exists():
            ctypes.CDLL(str(home / "lib" / name), mode=ctypes.RTLD_GLOBAL)
    guard = ctypes.CDLL(str(library))
    import torch

    guard.install_guard()
    # autocast asks torch.cuda, which knows that this build has none; without these two it would switch itself off,
    # and again in the recompute of a checkpoint. Mixtures of experts ask which card it is: the oldest with bf16.
    torch.cuda.amp.common.amp_definitely_not_available = lambda: False
    torch.cuda.is_bf16_supported = lambda *_, **__: True
    torch.cuda.get_device_capability = lambda *_: (8, 0)
    # A build without CUDA has no kernel of its own for this, and would run five operations with a tensor each; CUDA's
    # makes the result only (aten/src/ATen/native/cuda/ActivationSiluKernel.cu).
    kernels = torch.library.Library("aten", "IMPL")
    kernels.impl("silu_backward", lambda gradient, _: torch.empty_like(gradient), "CUDA")
    _KEPT.append(kernels)


def _compiled(home: Path) -> Path:
    # Beside the interpreter's own environment: the library fits exactly this torch.
    library = Path(sys.prefix) / f"fake_cuda-{importlib.metadata.version('torch')}.so"
    if not library.exists() or library.stat().st_mtime < _SOURCE.stat().st_mtime:
        include = [f"-I{home / 'include'}", f"-I{home / 'include' / 'torch' / 'csrc' / 'api' / 'include'}"]
        command = ["g++", "-shared", "-fPIC", "-std=c++20", "-O1", "-w", *include, str(_SOURCE), "-o", str(library)]
        subprocess.run([*command, f"-L{home / 'lib'}", "-lc10", "-ltorch_cpu"], check=True)
    return library
