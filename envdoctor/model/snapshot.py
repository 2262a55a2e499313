"""What a machine looked like, when, and what could not be seen."""

from __future__ import annotations

import re
from typing import Literal

from envdoctor.model import Record
from envdoctor.model.speech import say

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


class Setting(Record):
    """A line of a configuration file, or a variable that stands for one."""

    name: str  # index-url, wsl2.memory
    value: str
    source: str  # the file, or the variable


class Wsl(Record):
    """Windows Subsystem for Linux."""

    version: Literal[1, 2]
    distribution: str | None = None  # WSL_DISTRO_NAME
    dxg: bool = False  # /dev/dxg, the GPU's door from Windows
    libraries: tuple[str, ...] = ()  # file names in /usr/lib/wsl/lib
    on_loader_path: bool | None = None  # ld.so.cache or LD_LIBRARY_PATH names that folder
    gpu_enabled: bool = True  # [gpu] enabled of /etc/wsl.conf
    settings: tuple[Setting, ...] | None = None  # of .wslconfig, "wsl2.memory"; None: not found from here
    settings_faults: tuple[str, ...] = ()  # lines of .wslconfig that WSL does not understand
    drive_free_bytes: int | None = None  # of the Windows drive C, which usually holds the virtual disk


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
    jetpack: int | None = None  # major version, from the release of its Linux (R36 is JetPack 6)
    laptop: bool | None = None  # by the chassis that the firmware names
    graphics_mode: str | None = None  # of a laptop with two GPUs: on, off, on-demand (/etc/prime-discrete)
    translated: bool | None = None  # this process is translated from x86 to ARM (Rosetta)
    iommu_passthrough: bool | None = None  # the kernel was started with iommu=pt
    missing_runtime: tuple[str, ...] | None = None  # DLLs of the Visual C++ runtime that System32 lacks


class Cpu(Record):
    """Processor and the share of it this process may use."""

    model: str | None = None
    vendor: str | None = None
    logical: int | None = None  # processors the kernel shows
    affinity: int | None = None  # processors this process may run on
    quota: float | None = None  # processors' worth of time granted by cgroups; None: no limit
    features: tuple[str, ...] | None = None  # avx, avx2, avx512f, avx512_vnni, amx_tile …; None: not an x86 flag list
    governor: str | None = None  # of the first processor: performance, powersave, schedutil …; None: no cpufreq
    scaling_driver: str | None = None  # intel_pstate, amd-pstate-epp, acpi-cpufreq …
    numa_nodes: tuple[int, ...] | None = None  # nodes whose processors this process may use; None: not looked

    @property
    def usable(self) -> float | None:
        """Processors' worth of time that are really granted."""
        granted = [float(n) for n in (self.logical, self.affinity, self.quota) if n is not None]
        return min(granted) if granted else None


class Limits(Record):
    """What one process, or its cgroup, may take; None: no limit. The record is missing where nobody looked."""

    open_files: int | None = None
    processes: int | None = None  # the tighter of the account's and the cgroup's
    locked_bytes: int | None = None
    stack_bytes: int | None = None


class Memory(Record):
    """Host memory, in bytes."""

    total_bytes: int
    available_bytes: int | None = None
    limit_bytes: int | None = None  # tightest cgroup limit; None: no limit
    swap_bytes: int | None = None
    shm_bytes: int | None = None  # size of /dev/shm
    shm_free_bytes: int | None = None
    oom_kills: int | None = None  # processes the kernel ended for lack of memory, in this cgroup or since the start
    huge_pages: str | None = None  # transparent huge pages: always, madvise, never
    reserved_huge_bytes: int | None = None  # set aside for huge pages and free
    limits: Limits | None = None

    @property
    def effective_bytes(self) -> int:
        """What this process may use at the most."""
        return min(self.total_bytes, self.limit_bytes or self.total_bytes)


class Disk(Record):
    """A file system that the work needs."""

    path: str
    purposes: tuple[str, ...]  # environment, cache (pip's), temporary, home, models (Hugging Face's cache)
    device: str | None = None
    filesystem: str | None = None
    total_bytes: int | None = None
    free_bytes: int | None = None  # for an ordinary user
    kind: Literal["hdd", "sata-ssd", "nvme", "network", "virtual"] | None = None
    files_total: int | None = None  # inodes; None or 0: the file system has no fixed number
    files_free: int | None = None
    noexec: bool | None = None  # mounted so that nothing on it can be run or loaded


class Mig(Record):
    """Multi-Instance GPU."""

    enabled: bool
    pending: bool
    instances: int | None = None


class GpuProcess(Record):
    """A process that holds memory of a GPU."""

    pid: int
    memory_bytes: int | None = None


class GpuHealth(Record):
    """How a card is and what holds it back, as NVML says; None where it does not say (laptops, WSL, old drivers)."""

    compute_mode: Literal["default", "exclusive-thread", "prohibited", "exclusive-process"] | None = None
    persistence: bool | None = None
    ecc_uncorrected: int | None = None  # memory errors since the driver was loaded
    ecc_uncorrected_ever: int | None = None
    pages_pending: bool | None = None  # memory pages wait for a reset to be retired (before Ampere)
    remap_pending: bool | None = None  # memory rows wait for a reset to be replaced
    remap_failed: bool | None = None
    held_back: int | None = None  # reasons for lower clocks that stood in every sample, as NVML's bits
    temperature: int | None = None  # degrees Celsius
    power_limit_watts: float | None = None  # what the card keeps to now
    power_default_watts: float | None = None
    link_width: int | None = None  # lanes
    link_width_max: int | None = None  # what card and slot can do together
    recovery: int | None = None  # field 230: 0 none, 1 reset, 2 restart, 3 drain, 4 drain and reset, 5 IMEX
    fabric: int | None = None  # state of the NVLink fabric: 1 not started, 2 in progress, 3 completed


class Xid(Record):
    """A fault that the NVIDIA driver wrote into the kernel's log since the start."""

    code: int
    bus_id: str | None = None
    count: int = 1


class DeviceFile(Record):
    """A device file through which programs reach a GPU."""

    path: str
    mode: int | None = None  # permission bits
    group: str | None = None  # name of its group, or the number where it has none
    member: bool | None = None  # /etc/group lists this account in it
    refused: str | None = None  # EACCES, EPERM: this process may not open it; None: it may


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
    health: GpuHealth | None = None
    numa_node: int | None = None  # None: the firmware does not say, or there is one node only
    mig_uuids: tuple[str, ...] | None = None  # of its MIG instances
    missing_runtime: tuple[str, ...] | None = None  # libraries of Intel's Level Zero that the loader does not find


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
    copies: tuple[str, ...] = ()  # further files that answer to libcuda.so.1 or libnvidia-ml.so.1, resolved
    uvm: bool | None = None  # the kernel offers nvidia-uvm, which CUDA needs and nvidia-smi does not
    modprobe: bool | None = None  # the helper nvidia-modprobe is there, which makes up for both
    nvswitch: bool | None = None  # GPUs are joined by NVSwitch (/dev/nvidia-nvswitchctl)
    fabric_manager: bool | None = None  # nv-fabricmanager runs
    fabric_manager_version: str | None = None  # of the installed package
    persistenced: bool | None = None  # nvidia-persistenced runs
    display_server: bool | None = None  # X or Wayland runs and keeps the driver loaded
    xids: tuple[Xid, ...] | None = None  # None: the kernel's log was not read
    keeps_memory: bool | None = None  # the module saves the cards' memory before a suspend
    resumes: int | None = None  # times this machine woke up since its start
    wants_open_module: bool | None = None  # the log says that a card needs the other module flavour


class Toolkit(Record):
    """An installed CUDA toolkit."""

    path: str
    version: str | None = None
    nvcc: str | None = None
    found_by: tuple[str, ...] = ()  # CUDA_HOME, CUDA_PATH, PATH, /usr/local/cuda, conda, pip
    gcc_limit: int | None = None  # newest major version of gcc that its header crt/host_config.h admits


class Compiler(Record):
    """A C compiler that PATH finds."""

    name: Literal["gcc", "clang", "cc"]
    path: str
    version: int | None = None  # major


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


class Extension(Record):
    """A compiled package that was made for one torch: flash-attn, xformers, bitsandbytes."""

    package: str  # normalised distribution name
    tags: str | None = None  # the wheel's file name, where pip noted what it was installed from
    cudart: str | None = None  # major of the CUDA runtime its library needs
    cuda_builds: tuple[str, ...] | None = None  # bitsandbytes: 118, 124 … of its libraries; None: not looked
    glibcxx: str | None = None  # newest version of the C++ library that it asks for, "3.4.30"
    libstdcxx: str | None = None  # the libstdc++.so.6 that it would be loaded with
    libstdcxx_version: str | None = None  # newest version that this one provides
    library: str | None = None  # its file that was looked up in torch's libraries
    lacks: tuple[str, ...] | None = None  # libraries and symbols that it asks of torch in vain; None: not looked


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
    leftovers: tuple[str, ...] = ()  # names in its site folders that begin with ~
    without_record: tuple[str, ...] = ()  # watched distributions of pip's or uv's without RECORD
    damaged: tuple[str, ...] = ()  # libraries that a RECORD lists and that are missing or have another size
    headers: bool | None = None  # Python.h is there, which compiling extensions needs; None: not looked
    home_missing: str | None = None  # folder of the base Python that pyvenv.cfg names and that is gone
    local_modules: tuple[str, ...] = ()  # files in the working folder that hide an installed module
    extensions: tuple[Extension, ...] = ()

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
    missing: str | None = None  # a path in the value where nothing stands


class Cdi(Record):
    """A CDI description of GPUs for containers."""

    path: str
    driver: str | None = None  # release of the libcuda it names


class Docker(Record):
    """A container engine on this machine, and what hands GPUs to its containers."""

    engine: bool = False  # dockerd's socket or program is here
    snap: bool = False
    podman: bool = False
    desktop: bool = False  # Docker Desktop, which brings its own GPU support
    toolkit: bool = False  # nvidia-ctk or nvidia-container-cli is installed
    runtimes: tuple[str, ...] | None = None  # of daemon.json; None: there is no such file
    fault: str | None = None  # why daemon.json cannot be read as JSON
    restart_due: bool | None = None  # daemon.json was written after dockerd started; None: not known
    cdi_feature: bool | None = None
    cdi: tuple[Cdi, ...] = ()


class Pip(Record):
    """How pip is set up by files and variables, the one that counts first."""

    settings: tuple[Setting, ...] = ()
    missing: tuple[str, ...] = ()  # files that settings name and that are not there


Outcome = Literal["reached", "name-unknown", "refused", "no-route", "no-answer"]


class Asked(Record):
    """A server that packages come from, or a proxy on the way to it, and what a connection to it came to."""

    target: str  # host:port, never with a user or a password
    kind: Literal["index", "extra-index", "proxy"]
    source: str  # variable or file that names it; pip's own file for pip's own index
    outcome: Outcome


class Problem(Record):
    """A line that a person pasted."""

    text: str
    source: str = "the pasted text"  # or the name of the file that was handed in
    line: int | None = None  # its number there, from 1

    @property
    def place(self) -> str:
        """Say where the line stands, as a person looks for it."""
        return say("line {line} of {file}", line=self.line, file=self.source) if self.line else self.source


# Environments that one file can have: each file's begin at a multiple of it.
STAGES = 1000


class Declared(Record):
    """What one line of a person's own file asks for: a Dockerfile, environment.yml, requirements.txt."""

    environment: int  # lines with one number are of one environment: a file, or a chain of a Dockerfile's stages
    file: str
    line: int  # from 1
    text: str  # the line as it stands, without its indent and without passwords
    kind: Literal["image", "package", "channel", "variable", "system"]
    name: str  # nvidia/cuda, torch, pytorch, LD_LIBRARY_PATH, nvidia-driver-550
    value: str | None = None  # tag, specifier, build, value; None: it hangs on something that the file does not say
    by: Literal["docker", "pip", "uv", "conda", "system"] = "pip"
    extras: tuple[str, ...] = ()
    marker: str | None = None
    channel: str | None = None  # of a conda package, where it names its own
    index: str | None = None  # that pip asks in place of its own for this package
    more_indexes: tuple[str, ...] = ()
    links: tuple[str, ...] = ()  # pages of links

    @property
    def place(self) -> str:
        """Say where the line stands."""
        return say("line {line} of {file}", line=self.line, file=self.file)


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
    devices: tuple[DeviceFile, ...] = ()
    compilers: tuple[Compiler, ...] | None = None  # None: nobody looked
    docker: Docker | None = None
    pip: Pip | None = None
    network: tuple[Asked, ...] | None = None  # None: nobody asked, which only --network does
    declared: tuple[Declared, ...] = ()  # lines of a person's own files, which are to be judged for this machine
    wanted: tuple[str, ...] = ()  # workloads a person means to run here: gpt2:training:batch=8
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
        if fact.startswith("problems["):
            return self.problems[int(fact[9 : fact.index("]")])].place
        if fact.startswith("declared["):
            return self.declared[int(fact[9 : fact.index("]")])].place
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
