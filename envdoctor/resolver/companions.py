"""Packages that go with a build of torch: which release of each, or which pair excludes which."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

from envdoctor.knowledge.builds import Build, Objection, card_name, gpus_of
from envdoctor.knowledge.fit import code_serves
from envdoctor.knowledge.load import Knowledge
from envdoctor.model import Record
from envdoctor.model.speech import say
from envdoctor.model.stack import Reason, Target, TargetGpu
from envdoctor.model.version import at_least, compare, major, numbers

# vllm pins the others, so it is chosen first.
COMPANIONS = ("vllm", "xformers", "transformers", "bitsandbytes", "onnxruntime-gpu", "flash-attn")


class Pick(Record):
    """A release of a companion that goes with a build."""

    version: str
    because: str
    source: str
    doubts: tuple[str, ...] = ()
    pins: tuple[tuple[str, str], ...] = ()  # what it asks of other packages
    compiled: bool = False  # there is no wheel: it is built once torch is installed


class Together(Record):
    """The companions that go with a build, in the order in which they were asked for."""

    packages: dict[str, str]
    build_command: tuple[str, ...] = ()
    reasons: tuple[Reason, ...] = ()
    doubts: tuple[str, ...] = ()


class _Setting(Record):
    """What a companion must go with."""

    build: Build
    python: str
    target: Target
    pins: dict[str, str]  # by the companions chosen before

    @property
    def torch(self) -> str:
        return self.build.release.version

    @property
    def gpus(self) -> tuple[TargetGpu, ...]:
        return tuple(gpu for gpu in dict.fromkeys(gpus_of(self.target, "nvidia")) if gpu.capability)


def together(
    names: tuple[str, ...], build: Build, python: str, target: Target, facts: Knowledge
) -> Together | Objection:
    """Choose a release of every companion for a build of torch and a Python, or say which one excludes it."""
    picks: dict[str, Pick] = {}
    pins: dict[str, str] = {}
    for name in (each for each in COMPANIONS if each in names):
        setting = _Setting(build=build, python=python, target=target, pins=pins)
        pick = _pick(name, setting, facts)
        if isinstance(pick, str):
            return Objection(constraint="companion", because=pick, source=_source(name, facts))
        picks[name] = pick
        pins.update(pick.pins)
    wanted = [name for name in names if name in picks]
    built = [f"{name}=={picks[name].version}" for name in wanted if picks[name].compiled]
    return Together(
        packages={name: picks[name].version for name in wanted if not picks[name].compiled},
        build_command=("pip", "install", *built, "--no-build-isolation") if built else (),
        reasons=tuple(
            Reason(
                choice=f"{name} {picks[name].version}",
                because=picks[name].because,
                source=picks[name].source,
            )
            for name in wanted
        ),
        doubts=tuple(doubt for name in wanted for doubt in picks[name].doubts),
    )


def _source(name: str, facts: Knowledge) -> str:
    rows: dict[str, Callable[[], str]] = {
        "vllm": lambda: facts.vllm_releases[0].source,
        "xformers": lambda: facts.xformers_releases[0].source,
        "transformers": lambda: facts.transformers_releases[0].source,
        "bitsandbytes": lambda: facts.bitsandbytes_releases[0].source,
        "onnxruntime-gpu": lambda: facts.onnxruntime_releases[0].source,
        "flash-attn": lambda: facts.flash_attention[0].source,
    }
    return rows[name]()


def _pick(name: str, setting: _Setting, facts: Knowledge) -> Pick | str:
    kind = setting.build.kind
    if kind != "cuda" and name not in ("transformers", "bitsandbytes"):
        return say("{name} is for CUDA, and {build_name} is not", name=name, build_name=setting.build.name)
    return {
        "vllm": _vllm,
        "xformers": _xformers,
        "transformers": _transformers,
        "bitsandbytes": _bitsandbytes,
        "onnxruntime-gpu": _onnxruntime,
        "flash-attn": _flash,
    }[name](setting, facts)


def _vllm(setting: _Setting, facts: Knowledge) -> Pick | str:
    if setting.target.os not in ("linux", "wsl2"):
        return say("vllm has wheels for Linux only, not for {os}", os=setting.target.os)
    release = setting.build.release
    problem = ""
    for row in facts.vllm_releases:
        pairs = (("torch", row.torch, release.version), ("torchvision", row.torchvision, release.torchvision))
        if not all(spec is None or version is None or _accepts(spec, version) for _, spec, version in pairs):
            continue
        problem = problem or _wheel_problem(
            say("vllm {version}", version=row.version), row.requires_python, row.glibc, setting
        )
        if _wheel_problem("", row.requires_python, row.glibc, setting):
            continue
        hardware = next((each for each in facts.vllm_hardware if _within(row.version, each.first, each.last)), None)
        if hardware and (small := _below(hardware.capability_min, setting)):
            problem = problem or _too_small(say("vllm {version}", version=row.version), hardware.capability_min, small)
            continue
        doubts = [*_default_build("vllm", row.version, setting)]
        if hardware is None and setting.gpus:
            doubts.append(say("which GPUs vllm {version} serves is not in the tables", version=row.version))
        asked = (("transformers", row.transformers), ("xformers", row.xformers))
        return Pick(
            version=row.version,
            because=say("it pins torch {torch}", torch=row.torch),
            source=row.source,
            doubts=tuple(doubts),
            pins=tuple((name, spec) for name, spec in asked if spec),
        )
    newest = facts.vllm_releases[0]
    return problem or say(
        "no vllm in the tables accepts torch {torch}; {version} asks for {newest_torch}",
        torch=setting.torch,
        version=newest.version,
        newest_torch=newest.torch,
    )


def _xformers(setting: _Setting, facts: Knowledge) -> Pick | str:
    if setting.target.arch != "x86_64":
        return say("no xformers wheel for {arch} is in the tables", arch=setting.target.arch)
    problem = ""
    for row in facts.xformers_releases:
        if not _accepts(row.torch, setting.torch) or not _accepts(setting.pins.get("xformers", ""), row.version):
            continue
        stopped = _wheel_problem(
            say("xformers {version}", version=row.version), row.requires_python, row.glibc, setting
        )
        small = _below(row.capability_min, setting) if row.capability_min else None
        if stopped or small:
            problem = (
                problem
                or stopped
                or _too_small(say("xformers {version}", version=row.version), row.capability_min or "", small)
            )
            continue
        doubts = [*_default_build("xformers", row.version, setting)]
        if not row.any_python and setting.python != "3.11":
            doubts.append(say("xformers {version}: only its wheel for Python 3.11 was looked at", version=row.version))
        if setting.target.os == "windows":
            doubts.append(say("xformers {version}: only its wheels for Linux were looked at", version=row.version))
        because = say(
            "the newest one that accepts torch {torch} ({row_torch})", torch=setting.torch, row_torch=row.torch
        )
        return Pick(version=row.version, because=because, source=row.source, doubts=tuple(doubts))
    if not problem and "xformers" in setting.pins:
        return _as_vllm_asks("xformers", setting, facts)
    return problem or say("no xformers in the tables accepts torch {torch}", torch=setting.torch)


def _as_vllm_asks(name: str, setting: _Setting, facts: Knowledge) -> Pick:
    """Leave the release to vllm's metadata: not every release of the others is in the tables."""
    return Pick(
        version=setting.pins[name], because=say("vllm's metadata asks for it"), source=facts.vllm_releases[0].source
    )


def _transformers(setting: _Setting, facts: Knowledge) -> Pick | str:
    for row in facts.transformers_releases:
        if (
            _accepts(row.torch, setting.torch)
            and _accepts(row.requires_python, setting.python)
            and _accepts(setting.pins.get("transformers", ""), row.version)
        ):
            because = say(
                "the newest one that accepts torch {torch} and Python {python}",
                torch=setting.torch,
                python=setting.python,
            )
            return Pick(version=row.version, because=because, source=row.source)
    if "transformers" in setting.pins:
        return _as_vllm_asks("transformers", setting, facts)
    return say(
        "no transformers in the tables accepts torch {torch} and Python {python}",
        torch=setting.torch,
        python=setting.python,
    )


def _bitsandbytes(setting: _Setting, facts: Knowledge) -> Pick | str:
    if setting.build.kind in ("rocm", "xpu"):
        return say("what bitsandbytes has for {tag} is not in the tables", tag=setting.build.tag)
    problem = ""
    for row in facts.bitsandbytes_releases:
        if not _accepts(row.torch or "", setting.torch) or not _accepts(row.requires_python or "", setting.python):
            continue
        stopped = _no_bitsandbytes(row.version, setting, facts) if setting.build.kind == "cuda" else None
        if stopped:
            problem = problem or stopped
            continue
        doubts = (
            ()
            if row.requires_python
            else (say("the Pythons of bitsandbytes {version} were not read", version=row.version),)
        )
        because = say("the newest one for torch {torch} and these GPUs", torch=setting.torch)
        return Pick(version=row.version, because=because, source=row.source, doubts=doubts)
    return problem or say(
        "no bitsandbytes in the tables accepts torch {torch} and Python {python}",
        torch=setting.torch,
        python=setting.python,
    )


def _no_bitsandbytes(version: str, setting: _Setting, facts: Knowledge) -> str | None:
    """Say why a release has no code for the build's CUDA or for a GPU; None: it has, as far as was read."""
    cuda, target = setting.build.cuda or "", setting.target
    hardware = next((each for each in facts.bitsandbytes_hardware if _within(version, each.first, each.last)), None)
    if hardware and (small := _below(hardware.capability_min, setting)):
        return _too_small(say("bitsandbytes {version}", version=version), hardware.capability_min, small)
    if hardware and hardware.cuda_first and not at_least(cuda, hardware.cuda_first):
        return say(
            "bitsandbytes {version} begins with CUDA {cuda_first}, and {name} has {cuda}",
            version=version,
            cuda_first=hardware.cuda_first,
            name=setting.build.name,
            cuda=cuda,
        )
    if hardware and hardware.cuda_last and compare(cuda, hardware.cuda_last) > 0:
        return say(
            "bitsandbytes {version} ends with CUDA {cuda_last}, and {name} has {cuda}",
            version=version,
            cuda_last=hardware.cuda_last,
            name=setting.build.name,
            cuda=cuda,
        )
    platform = f"{'windows' if target.os == 'windows' else 'linux'}_{target.arch}"
    rows = [each for each in facts.bitsandbytes_builds if each.version == version and each.platform == platform]
    inside = [each for each in rows if at_least(cuda, each.cuda_first) and compare(cuda, each.cuda_last) <= 0]
    if rows and not inside:
        return say("bitsandbytes {version} has no library for CUDA {cuda}", version=version, cuda=cuda)
    for gpu in setting.gpus:
        have = [
            code_serves(facts, each.capabilities, (), gpu.capability or "", cuda=cuda) == "native" for each in inside
        ]
        if inside and not any(have):
            return say(
                "bitsandbytes {version} for CUDA {cuda} has no code that runs on {card_name}",
                version=version,
                cuda=cuda,
                card_name=card_name(gpu),
            )
    return None


def _onnxruntime(setting: _Setting, facts: Knowledge) -> Pick | str:
    cuda, variant = setting.build.cuda or "", setting.build.variant
    cudnn = major(variant.cudnn) if variant and variant.cudnn else None
    near = [
        row
        for row in facts.onnxruntime_releases
        if row.cuda == major(cuda)
        and cudnn in (None, row.cudnn)
        and _accepts(row.requires_python or "", setting.python)
    ]
    if not near:
        if cudnn:
            return say(
                "no onnxruntime-gpu in the tables is for CUDA {cuda} and cuDNN {cudnn} on Python {python}",
                cuda=major(cuda),
                cudnn=cudnn,
                python=setting.python,
            )
        return say(
            "no onnxruntime-gpu in the tables is for CUDA {cuda} on Python {python}",
            cuda=major(cuda),
            python=setting.python,
        )
    # A doubted row is not chosen while there is another.
    row = next((each for each in near if each.doubt is None and each.requires_python), near[0])
    doubts = [row.doubt] if row.doubt else []
    if row.requires_python is None:
        doubts.append(say("the Pythons of onnxruntime-gpu {version} were not read", version=row.version))
    if setting.target.arch != "x86_64":
        doubts.append(
            say(
                "whether onnxruntime-gpu {version} has wheels for {arch} was not read",
                version=row.version,
                arch=setting.target.arch,
            )
        )
    because = say(
        "the newest one for CUDA {cuda} and cuDNN {cudnn}, which torch brings", cuda=row.cuda, cudnn=row.cudnn
    )
    return Pick(version=row.version, because=because, source=row.source, doubts=tuple(doubts))


def _flash(setting: _Setting, facts: Knowledge) -> Pick | str:
    row = next(each for each in facts.flash_attention if each.newest)
    assert row.newest and row.capability_min
    if small := _below(row.capability_min, setting):
        return _too_small(say("flash-attn {newest}", newest=row.newest), row.capability_min, small)
    cuda, doubts = setting.build.cuda or "", []
    if row.cuda_min and not at_least(cuda, row.cuda_min):
        doubts.append(
            say(
                "flash-attn {newest} asks for CUDA {cuda_min}, by some copies of its page for less",
                newest=row.newest,
                cuda_min=row.cuda_min,
            )
        )
    if row.torch_min and not at_least(setting.torch, row.torch_min):
        doubts.append(
            say(
                "flash-attn {newest} asks for torch {torch_min}, by some copies of its page for less",
                newest=row.newest,
                torch_min=row.torch_min,
            )
        )
    doubts += [
        say(
            "its page does not name {card_name} among the GPUs of flash-attn {newest}, its build script does",
            card_name=card_name(gpu),
            newest=row.newest,
        )
        for gpu in setting.gpus
        if not (at_least("9.0", gpu.capability or ""))
    ]
    because = say(
        "the package index has its source only: install it last, with --no-build-isolation, where nvcc of CUDA {cuda} "
        "is; compiling takes long",
        cuda=cuda,
    )
    if row.prebuilt:
        because = say("{reason}. Wheels that others made: {prebuilt}", reason=because, prebuilt=row.prebuilt)
    return Pick(version=row.newest, because=because, source=row.source, doubts=tuple(doubts), compiled=True)


def _default_build(name: str, version: str, setting: _Setting) -> Iterator[str]:
    build = setting.build
    if build.tag != build.release.default_linux:
        yield (
            say(
                "{name} {version} on the package index is compiled for torch's default build, {default_linux}; "
                "whether it runs with {tag} was not read",
                name=name,
                version=version,
                default_linux=build.release.default_linux or say("which is not known"),
                tag=build.tag,
            )
        )


def _wheel_problem(name: str, requires_python: str | None, glibc: str, setting: _Setting) -> str:
    if requires_python and not _accepts(requires_python, setting.python):
        return say(
            "{name} is for Python {requires_python}, not {python}",
            name=name,
            requires_python=requires_python,
            python=setting.python,
        )
    have = setting.target.glibc
    if setting.target.os in ("linux", "wsl2") and have and not at_least(have, glibc):
        return say("{name} needs glibc {glibc} or newer; there is {have}", name=name, glibc=glibc, have=have)
    return ""


def _below(capability: str, setting: _Setting) -> TargetGpu | None:
    return next((gpu for gpu in setting.gpus if not at_least(gpu.capability or "", capability)), None)


def _too_small(name: str, capability: str, gpu: TargetGpu | None) -> str:
    return say(
        "{name} needs compute capability {capability} or newer, and {card_name} is older",
        name=name,
        capability=capability,
        card_name=card_name(gpu) if gpu else say("a GPU"),
    )


def _within(version: str, first: str, last: str | None) -> bool:
    """Tell whether a version is in a range, both ends included; an end like 0.50 holds all of 0.50.x."""
    return at_least(version, first) and (
        last is None or compare(version, last) <= 0 or numbers(version)[: len(numbers(last))] == numbers(last)
    )


@lru_cache(maxsize=4096)
def _accepts(specifier: str, version: str) -> bool:
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(specifier).contains(version, prereleases=True)


def pythons_together(
    names: tuple[str, ...], build: Build, pythons: Iterable[str], target: Target, facts: Knowledge
) -> tuple[tuple[str, ...], tuple[str, ...], Objection | None]:
    """Give the Pythons with which all companions go with a build and least is in doubt; the doubts; or an objection."""
    found = [(python, together(names, build, python, target, facts)) for python in pythons]
    fits = [(python, each) for python, each in found if isinstance(each, Together)]
    if not fits:
        return (), (), next((each for _, each in reversed(found) if isinstance(each, Objection)), None)
    fewest = min(len(each.doubts) for _, each in fits)
    certain = [(python, each) for python, each in fits if len(each.doubts) == fewest]
    return tuple(python for python, _ in certain), certain[-1][1].doubts, None
