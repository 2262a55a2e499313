"""`python -m torch.utils.collect_env` of every era, and the longer forms that vLLM and others make of it."""

from __future__ import annotations

import re

from envdoctor.model.snapshot import Cpu, Driver, Framework, Library, Package, Snapshot, Toolkit, Variable
from envdoctor.readers import names
from envdoctor.readers.joining import joined
from envdoctor.readers.lines import holding
from envdoctor.readers.software import cuda_of, environment, framework, package, version_in

ORIGIN = "report: collect_env"
_MARKS = ("CUDA used to build PyTorch", "PyTorch version", "Versions of relevant libraries", "Is CUDA available")
# Characters before the first mark and behind it: the longest report has some hundred packages and the CPU's flags.
_BEFORE, _BEHIND = 20_000, 80_000
_NOTHING = ("could not collect", "n/a", "no cuda", "none", "")
_GPU = re.compile(r"GPU \d{1,3}: (.{1,120}?)(?: \(UUID.{0,80})?$")
_KEYS = (
    *("PyTorch version", "CUDA used to build PyTorch", "ROCM used to build PyTorch", "OS", "Libc version"),
    *("Python version", "Python platform", "CUDA runtime version", "Nvidia driver version", "Is CUDA available"),
    *("Model name", "CPU(s)", "Flags", "Architecture", "Vendor ID"),
)
# vLLM's form of 2025 pads the names, so that the colons stand below each other.
_FIELD = re.compile(rf"^(?:\[\w+\] )?\s*({'|'.join(map(re.escape, _KEYS))}) {{0,40}}:\s*(.{{0,2000}})$", re.MULTILINE)
_HOLDING = tuple(word for key in _KEYS for word in (f"{key}:", f"{key} :", f"{key}  "))
_PIP = re.compile(r"^\[pip3?\] ([\w.-]{1,80})==(\S{1,80})", re.MULTILINE)
_CONDA = re.compile(r"^\[conda\] ([\w.-]{1,80})[ \t]{1,60}(\S{1,60})(?:[ \t]{1,60}(\S{1,80}))?", re.MULTILINE)
_CUDNN = re.compile(r"^(/\S{1,200}/libcudnn\.so\.([\d.]{1,20}))$", re.MULTILINE)
_SET = ("LD_LIBRARY_PATH=", "CUDA_VISIBLE_DEVICES=", "CUDA_HOME=", "NCCL_", "VLLM_")
_VARIABLE = re.compile(
    r"^(LD_LIBRARY_PATH|CUDA_VISIBLE_DEVICES|CUDA_HOME|NCCL_\w{1,40}|VLLM_\w{1,40})=(.{0,1000})$", re.M
)


def sniff(text: str) -> bool:
    """Tell whether this is, or holds, such a report."""
    return sum(mark in text for mark in _MARKS) >= 2


def _report(text: str) -> str:
    """Give the part of a long text that can be of the first such report: its lines stand together."""
    first = min((place for mark in _MARKS if (place := text.find(mark)) >= 0), default=0)
    begin = text.rfind("\n", 0, max(0, first - _BEFORE)) + 1
    return text[begin : first + _BEHIND]


def read(text: str) -> Snapshot:
    """Read its fields; "Could not collect" tells nothing, "N/A" beside ROCm tells that there is none."""
    text = _report(text)
    fields: dict[str, str] = {}
    for key, value in _FIELD.findall(holding(text, *_HOLDING)):
        fields.setdefault(key, value.strip())
    told = {key: value for key, value in fields.items() if value.lower() not in _NOTHING}
    system = names.system_named(told.get("OS", ""), told.get("Libc version"), told.get("Python platform"))
    driver = told.get("Nvidia driver version", "").split("\n")[0]
    gpus = names.gpus_of(_gpu_names(text))
    toolkit = version_in(told.get("CUDA runtime version", ""))
    flags = told.get("Flags", "").split()
    origins = {"gpus": ORIGIN} if gpus else {}
    if driver:
        origins["driver"] = ORIGIN
    machine = Snapshot(
        system=system,
        cpu=Cpu(model=told.get("Model name"), features=tuple(flags) or None)
        if told.get("Model name") or flags
        else None,
        driver=Driver(version=driver, module_loaded=True) if driver[:1].isdigit() else None,
        gpus=gpus,
        toolkits=(Toolkit(path="", version=cuda_of(toolkit), found_by=("report",)),) if toolkit else (),
        libraries=tuple(
            Library(name="cudnn", path=path, version=v) for path, v in _CUDNN.findall(holding(text, "/libcudnn.so."))
        ),
        variables=tuple(
            Variable(name=name, value=value.strip()) for name, value in _VARIABLE.findall(holding(text, *_SET))
        ),
        origins=origins,
    )
    return joined([machine, _software(text, fields)])


def _gpu_names(text: str) -> list[str]:
    start = text.find("GPU models and configuration")
    if start < 0:
        return []
    lines = text[start : start + 8000].split("\n")
    lines[0] = lines[0].partition(":")[2].strip()
    found = []
    for line in lines[:64]:
        card = _GPU.match(line.strip())
        if card:
            found.append(card[1])
        elif found or (line and "GPU" not in line and line is not lines[0]):
            break
    return found


def _software(text: str, fields: dict[str, str]) -> Snapshot:
    listed = holding(text, "[pip", "[conda]")
    packages: list[Package] = [package(name, version, installer="pip") for name, version in _PIP.findall(listed)]
    packages += [
        package(name, version, build or None, installer="conda") for name, version, build in _CONDA.findall(listed)
    ]
    python = fields.get("Python version", "")
    bits = 64 if "64-bit" in python or "64 bit" in python else 32 if "32-bit" in python or "32 bit" in python else None
    torch = _torch(fields, packages)
    return environment(
        ORIGIN,
        tuple(packages),
        (torch,) if torch else (),
        version_in(python) or (re.match(r"[\d.]+", python) or [None])[0],
        bits,
        manager="conda" if "conda" in python or "Anaconda" in python else "other",
    )


def _torch(fields: dict[str, str], packages: list[Package]) -> Framework | None:
    version = version_in(fields.get("PyTorch version", ""))
    if version is None:
        return None
    built = fields.get("CUDA used to build PyTorch", "")
    hip = cuda_of(fields.get("ROCM used to build PyTorch", ""))
    # The tool prints torch.version.cuda; where that is None, old forms write "None" and newer ones "Could not collect"
    # (https://github.com/pytorch/pytorch/blob/main/torch/utils/collect_env.py).
    cpu = built.lower() in ("none", "could not collect") and not hip
    return framework("torch", version, cuda_of(built), cpu=cpu, hip=hip)
