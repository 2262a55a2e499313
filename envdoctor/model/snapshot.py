"""What a machine looked like, when, and what could not be seen."""

from __future__ import annotations

import re
from typing import Literal

from envdoctor.model import Record

SCHEMA_VERSION = 1

GapKind = Literal["denied", "timeout", "crashed", "unsupported", "not-reported"]
Vendor = Literal["nvidia", "amd", "intel", "apple", "other"]


_INDEX = re.compile(r"\[\d+\]")
_STEP = re.compile(r"([\w-]+)(?:\[(\d+)\])?")


class Gap(Record):
    """A part of the machine that could not be looked at; the facts below `fact` are unknown, which is not absent."""

    probe: str
    fact: str  # path of the Snapshot that is unknown: "driver", "cpu.quota"
    kind: GapKind
    detail: str


class Wsl(Record):
    """Windows Subsystem for Linux."""

    version: Literal[1, 2]
    distribution: str | None = None  # WSL_DISTRO_NAME
    dxg: bool = False  # /dev/dxg, the GPU's door from Windows
    libraries: tuple[str, ...] = ()  # file names in /usr/lib/wsl/lib
    on_loader_path: bool | None = None  # ld.so.cache or LD_LIBRARY_PATH names that folder
    gpu_enabled: bool = True  # [gpu] enabled of /etc/wsl.conf


class Container(Record):
    """The container this process runs in."""

    kind: Literal["docker", "podman", "kubernetes", "lxc", "other"]


class System(Record):
    """Operating system and what it runs on."""

    os: Literal["linux", "windows", "macos", "other"]
    distribution: str | None = None  # ID of os-release: debian, ubuntu …
    distribution_version: str | None = None
    name: str | None = None  # PRETTY_NAME
    kernel: str | None = None  # as uname -r prints it
    machine: str | None = None  # x86_64, aarch64, arm64
    libc: Literal["glibc", "musl"] | None = None
    libc_version: str | None = None
    wsl: Wsl | None = None
    container: Container | None = None
    virtual: bool | None = None  # a hypervisor is underneath
    secure_boot: bool | None = None
    jetson: str | None = None  # model of an NVIDIA Jetson board


class Cpu(Record):
    """Processor and the share of it this process may use."""

    model: str | None = None
    vendor: str | None = None
    logical: int | None = None  # processors the kernel shows
    affinity: int | None = None  # processors this process may run on
    quota: float | None = None  # processors' worth of time granted by cgroups; None: no limit
    features: tuple[str, ...] | None = None  # avx, avx2, avx512f, avx512_vnni, amx_tile …; None: not an x86 flag list

    @property
    def usable(self) -> float | None:
        """Processors' worth of time that are really granted."""
        granted = [float(n) for n in (self.logical, self.affinity, self.quota) if n is not None]
        return min(granted) if granted else None


class Memory(Record):
    """Host memory, in bytes."""

    total_bytes: int
    available_bytes: int | None = None
    limit_bytes: int | None = None  # tightest cgroup limit; None: no limit
    swap_bytes: int | None = None
    shm_bytes: int | None = None  # size of /dev/shm
    shm_free_bytes: int | None = None

    @property
    def effective_bytes(self) -> int:
        """What this process may use at the most."""
        return min(self.total_bytes, self.limit_bytes or self.total_bytes)


class Disk(Record):
    """A file system that the work needs."""

    path: str
    purposes: tuple[str, ...]  # environment, cache, temporary, home
    device: str | None = None
    filesystem: str | None = None
    total_bytes: int | None = None
    free_bytes: int | None = None  # for an ordinary user
    kind: Literal["hdd", "sata-ssd", "nvme", "network", "virtual"] | None = None


class Mig(Record):
    """Multi-Instance GPU."""

    enabled: bool
    pending: bool
    instances: int | None = None


class GpuProcess(Record):
    """A process that holds memory of a GPU."""

    pid: int
    memory_bytes: int | None = None


class Gpu(Record):
    """One accelerator; what neither NVML nor the bus tells is None."""

    vendor: Vendor
    index: int | None = None  # NVML's index
    name: str | None = None
    uuid: str | None = None
    bus_id: str | None = None  # 0000:01:00.0, lower case
    pci_id: str | None = None  # 10de:2504
    bound_driver: str | None = None  # kernel driver that holds the card: nvidia, nouveau, vfio-pci, amdgpu …
    power_state: str | None = None  # D0, D3cold
    capability: str | None = None  # CUDA compute capability, "8.6"
    target: str | None = None  # AMD's gfx target
    memory_bytes: int | None = None
    used_bytes: int | None = None  # without what the driver reserves, where NVML tells
    free_bytes: int | None = None
    reserved_bytes: int | None = None
    minor: int | None = None  # number of its /dev/nvidia<minor>
    mig: Mig | None = None
    display_active: bool | None = None
    processes: tuple[GpuProcess, ...] | None = None
    lost: bool = False  # NVML says 15, or the bus reads all ones while powered
    integrated: bool = False
    nvml_error: int | None = None  # return code that kept NVML from describing this card


class Driver(Record):
    """The NVIDIA driver: kernel half, user half, and whether they are the same release."""

    version: str | None = None  # of the loaded kernel module; in WSL 2 the Windows driver's
    module_loaded: bool = False
    module_on_disk: bool | None = None  # nvidia.ko is listed for the running kernel
    module_signed: bool | None = None
    module_flavour: Literal["open", "proprietary"] | None = None
    blacklisted: bool | None = None
    nouveau_loaded: bool | None = None
    dkms: tuple[str, ...] | None = None  # driver versions in the DKMS tree
    headers: bool | None = None  # of the running kernel
    device_nodes: tuple[str, ...] | None = None  # /dev/nvidia0, /dev/nvidiactl …
    nvml: int | None = None  # return code of nvmlInit; None: no library to ask
    nvml_path: str | None = None  # libnvidia-ml.so.1 that the loader finds, resolved
    nvml_version: str | None = None  # release of that file, from its name
    cuda: str | None = None  # highest CUDA this driver offers, "12.8"
    libcuda_path: str | None = None  # libcuda.so.1 that the loader finds, resolved
    libcuda_version: str | None = None


class Toolkit(Record):
    """An installed CUDA toolkit."""

    path: str
    version: str | None = None
    nvcc: str | None = None
    found_by: tuple[str, ...] = ()  # CUDA_HOME, CUDA_PATH, PATH, /usr/local/cuda, conda, pip


class Library(Record):
    """A GPU library on disk, with who owns it."""

    name: Literal["cudnn", "nccl", "cudart", "cublas", "nvjitlink", "other"]
    path: str
    version: str | None = None  # 9.10.2
    owner: Literal["framework", "pip", "conda", "system"] = "system"
    package: str | None = None
    shadows: str | None = None  # path of the copy this one would be loaded instead of


class Package(Record):
    """A distribution in a Python environment."""

    name: str  # normalised: lower case, single dashes
    version: str
    installer: str | None = None  # pip, uv, conda …
    build: str | None = None  # conda's build string
    location: str | None = None  # folder that holds its metadata
    requires: tuple[str, ...] = ()  # Requires-Dist, as written


class Framework(Record):
    """A deep-learning framework, read from its files, never imported."""

    name: Literal["torch", "tensorflow", "jax"]
    version: str
    location: str | None = None
    cuda: str | None = None  # CUDA it was built with
    hip: str | None = None
    xpu: str | None = None
    cudnn: str | None = None  # of the copy it brings
    archs: tuple[str, ...] | None = None  # machine code it carries: sm_75, compute_120 (PTX); None: not read
    gpu_build: bool | None = None


class PythonEnv(Record):
    """The Python environment that is being judged; never envdoctor's own."""

    executable: str
    prefix: str
    base_prefix: str | None = None
    version: str | None = None
    bits: int | None = None
    libc: Literal["glibc", "musl"] | None = None
    free_threaded: bool = False
    manager: Literal["venv", "conda", "system", "pyenv", "other"] = "other"
    selected_by: Literal["--python", "VIRTUAL_ENV", "CONDA_PREFIX", "PATH", "report"] = "PATH"
    externally_managed: bool = False
    site_dirs: tuple[str, ...] = ()
    pip_prefix: str | None = None  # prefix that the first pip on PATH belongs to
    path_prefix: str | None = None  # prefix that the first python on PATH belongs to
    packages: tuple[Package, ...] = ()
    frameworks: tuple[Framework, ...] = ()

    def package(self, name: str) -> Package | None:
        """Give the first distribution of that normalised name, or None."""
        return next((p for p in self.packages if p.name == name), None)

    def framework(self, name: str) -> Framework | None:
        """Give that framework, or None."""
        return next((f for f in self.frameworks if f.name == name), None)


class Variable(Record):
    """An environment variable that matters."""

    name: str
    value: str


class Problem(Record):
    """An error line that a person pasted."""

    text: str
    source: str = "report"


class Evidence(Record):
    """A fact, its value, and where it was read."""

    fact: str
    value: str
    source: str


class Snapshot(Record):
    """A machine at one moment. A probe or a reader gives a partial one; `merge` joins them.

    Present, absent and unknown are told apart: a value is present, None or an empty tuple is absent (looked, not
    there), and a Gap that covers the path makes it unknown. `origins` says where a path, or a prefix of it, was read.
    """

    schema_version: int = SCHEMA_VERSION
    taken_at: str | None = None  # ISO 8601, UTC
    tool: str | None = None
    system: System | None = None
    cpu: Cpu | None = None
    memory: Memory | None = None
    disks: tuple[Disk, ...] = ()
    driver: Driver | None = None
    gpus: tuple[Gpu, ...] = ()
    toolkits: tuple[Toolkit, ...] = ()
    libraries: tuple[Library, ...] = ()
    pythons: tuple[PythonEnv, ...] = ()
    variables: tuple[Variable, ...] = ()
    problems: tuple[Problem, ...] = ()
    gaps: tuple[Gap, ...] = ()
    origins: dict[str, str] = {}

    @property
    def python(self) -> PythonEnv | None:
        """The environment that is judged."""
        return self.pythons[0] if self.pythons else None

    @property
    def wsl(self) -> Wsl | None:
        """WSL, where this is one."""
        return self.system.wsl if self.system else None

    @property
    def nvidia_gpus(self) -> tuple[Gpu, ...]:
        """The NVIDIA GPUs, in NVML's order."""
        return tuple(gpu for gpu in self.gpus if gpu.vendor == "nvidia")

    def variable(self, name: str) -> str | None:
        """Give an environment variable's value, or None where it is not set."""
        return next((v.value for v in self.variables if v.name == name), None)

    def gap(self, fact: str) -> Gap | None:
        """Give the gap that makes this fact, or a part of it, unknown."""
        plain = _INDEX.sub("", fact)
        for gap in self.gaps:
            hidden = _INDEX.sub("", gap.fact)
            if plain == hidden or plain.startswith(hidden + ".") or hidden.startswith(plain + "."):
                return gap
        return None

    def evidence(self, *facts: str) -> tuple[Evidence, ...]:
        """Show facts by path with their value and origin: `evidence("driver.version", "gpus[0].capability")`.

        Raises:
            AttributeError, IndexError: a rule named a path that is not there; a defect of the rule.
        """
        return tuple(Evidence(fact=fact, value=_shown(self._value(fact)), source=self._origin(fact)) for fact in facts)

    def _value(self, fact: str) -> object:
        value: object = self
        for name, index in _STEP.findall(fact):
            if isinstance(value, tuple):  # a word after a list picks the item of that name: packages.torch
                value = next(item for item in value if item.name == name)
                value = value.value if isinstance(value, Variable) else value
            else:
                value = getattr(value, name)
            if index:
                assert isinstance(value, tuple), fact
                value = value[int(index)]
        return value

    def _origin(self, fact: str) -> str:
        path = fact
        while path:
            for key in (path, _INDEX.sub("", path)):
                if key in self.origins:
                    return self.origins[key]
            path = path.rpartition(".")[0] if "." in path else _INDEX.sub("", path) if "[" in path else ""
        return "snapshot"


def _shown(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(_shown(item) for item in value) or "none"
    return str(value)


def merge(parts: tuple[Snapshot, ...]) -> Snapshot:
    """Join partial snapshots: the first part that has a value gives it; tuples and origins of all are joined.

    >>> merge((Snapshot(cpu=Cpu(model="A")), Snapshot(cpu=Cpu(model="B"), problems=(Problem(text="x"),)))).cpu.model
    'A'
    """
    joined: dict[str, object] = {}
    for part in parts:
        for name in part.__struct_fields__:
            new, old = getattr(part, name), joined.get(name)
            if isinstance(new, tuple):
                joined[name] = (old if isinstance(old, tuple) else ()) + new
            elif isinstance(new, dict):
                joined[name] = {**new, **(old if isinstance(old, dict) else {})}
            elif old is None:
                joined[name] = new
    return Snapshot(**joined)  # type: ignore[arg-type]
