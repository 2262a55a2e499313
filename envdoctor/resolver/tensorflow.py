"""What TensorFlow published, as it would be installed on a machine."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.builds import Objection, card_name
from envdoctor.knowledge.fit import driver_compiles
from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.tables.frameworks import TensorflowRelease
from envdoctor.model.speech import say
from envdoctor.model.stack import Reason, Request, Target
from envdoctor.model.version import at_least, compare
from envdoctor.resolver.candidates import wants_cuda
from envdoctor.resolver.options import Option, Traits, against, architectures, cudnn_ceiling, unknown_gpus

PIP_PAGE = "https://github.com/tensorflow/docs/blob/7c3650212740204359d4ceae481abc79345541be/site/en/install/pip.md"
_MAXWELL = "https://github.com/tensorflow/tensorflow/releases/tag/v2.17.0"
# tensorrt 8.5, which the first releases with the extra ask for, ends with this Python.
_TENSORRT_LAST_PYTHON = "3.10"
_TENSORRT_PYTHONS = "https://github.com/tensorflow/tensorflow/issues/61986"
_TENSORRT_LIBS = "https://github.com/NVIDIA/TensorRT/issues/2933"
_WITHOUT_MAXWELL = "2.17"  # its wheels begin with Pascal
_NUMPY2 = "2.18"  # the first that is built for numpy 2
_PROTOBUF = "https://protobuf.dev/news/2022-05-06/"
_PROTOBUF_BOUND = "2.12"  # from here on the metadata bounds protobuf itself


def options(request: Request, target: Target, facts: Knowledge) -> Iterator[Option]:
    """Give every release for CUDA and for the CPU, newest first, with what stands against it on the target."""
    for row in facts.tensorflow_releases:
        yield _cuda(row, request, target, facts)
        yield _cpu(row, request, target, facts)


def _cuda(row: TensorflowRelease, request: Request, target: Target, facts: Knowledge) -> Option:
    brought = row.and_cuda is not None
    name = say("TensorFlow {version} for CUDA {cuda}", version=row.version, cuda=row.cuda)
    limited = "tensorrt" in (row.and_cuda or {})
    pythons = tuple(each for each in row.pythons if not limited or compare(each, _TENSORRT_LAST_PYTHON) <= 0)
    source = _TENSORRT_PYTHONS if limited else row.source
    traits = Traits(name=name, source=source, glibc=row.glibc, pythons=pythons, cuda=row.cuda)
    packages = {"tensorflow[and-cuda]" if brought else "tensorflow": row.version, **_limits(row)}
    ceiling = cudnn_ceiling(target, facts)
    doubts, reasons = [*unknown_gpus(target, facts), *_unread(row, target)], []
    if ceiling:
        limit, gpu, known = ceiling
        package, pinned = next(
            ((key, value) for key, value in (row.and_cuda or {}).items() if "cudnn" in key), (None, "")
        )
        if package and not pinned.startswith("=="):
            packages[package] = f"<{limit}"
            because = say(
                "{limit} is the first that no longer serves {card_name}, and TensorFlow would accept it",
                limit=limit,
                card_name=card_name(gpu),
            )
            reasons.append(
                Reason(choice=say("cuDNN below {limit}", limit=limit), because=because, source=known.cudnn_source)
            )
        elif compare(row.cudnn, limit) >= 0:
            doubts.append(
                say(
                    "cuDNN {cudnn} no longer lists {card_name} ({cudnn_source})",
                    cudnn=row.cudnn,
                    card_name=card_name(gpu),
                    cudnn_source=known.cudnn_source,
                )
            )
    if limited:
        because = say(
            "the extra asks for tensorrt {version}, whose wheels end with it", version=_version(row, "tensorrt")
        )
        reasons.append(
            Reason(
                choice=say("Python {tensorrt_last_python} at most", tensorrt_last_python=_TENSORRT_LAST_PYTHON),
                because=because,
                source=source,
            )
        )
    doubts += _code_doubts(row, target, facts)
    if row.cuda_doubt and request.cuda != "auto":
        doubts.append(say("TensorFlow {version}: {cuda_doubt}", version=row.version, cuda_doubt=row.cuda_doubt))
    return Option(
        framework="tensorflow",
        version=row.version,
        kind="cuda",
        packages=packages,
        source=row.source,
        pythons=pythons,
        newest_python=row.pythons[-1],
        numpy=row.numpy,
        cuda=row.cuda,
        cudnn=row.cudnn,
        brings_cuda=brought,
        brought=say("CUDA {cuda} or a newer 12.x", cuda=row.cuda)
        if row.cuda_doubt
        else say("CUDA {cuda}", cuda=row.cuda),
        capability_jit=any(_needs_ptx(row, first.first_cuda) for _, first in architectures(target, facts) if first),
        doubts=tuple(doubts),
        reasons=(*_protobuf(row), *reasons),
        objections=(
            *_no_gpu_build(row, target),
            *_not_installable(row),
            *_processor(row, target),
            *against(row.version, traits, request, target, facts),
            *_unwanted(row, request),
            *_no_code(row, target, facts),
        ),
    )


def _version(row: TensorflowRelease, package: str) -> str:
    return (row.and_cuda or {})[package].removeprefix("==")


def _not_installable(row: TensorflowRelease) -> Iterator[Objection]:
    if "tensorrt-libs" in (row.and_cuda or {}):
        because = say(
            "the extra of TensorFlow {version} asks for tensorrt-libs {wanted}, which the plain package index does "
            "not have",
            version=row.version,
            wanted=_version(row, "tensorrt-libs"),
        )
        yield Objection(constraint="version", because=because, source=_TENSORRT_LIBS)


def _cpu(row: TensorflowRelease, request: Request, target: Target, facts: Knowledge) -> Option:
    name = say("TensorFlow {version}", version=row.version)
    traits = Traits(name=name, source=row.source, glibc=row.glibc, pythons=row.pythons, cuda=None)
    small = target.os in ("linux", "wsl2") and target.arch == "x86_64"
    missing = []
    if target.os == "windows" and not row.windows_wheel:
        missing = [
            Objection(
                constraint="platform", because=say("{name} has no wheel for Windows", name=name), source=row.source
            )
        ]
    return Option(
        framework="tensorflow",
        version=row.version,
        kind="cpu",
        packages={"tensorflow-cpu" if small else "tensorflow": row.version, **_limits(row)},
        source=row.source,
        pythons=row.pythons,
        numpy=row.numpy,
        doubts=tuple(_unread(row, target)),
        reasons=tuple(_protobuf(row)),
        objections=(
            *missing,
            *_no_wheels(target),
            *_processor(row, target),
            *against(row.version, traits, request, target, facts),
        ),
    )


def _limits(row: TensorflowRelease) -> dict[str, str]:
    bounded = any("<" in each or "~=" in each for each in row.protobuf)
    return {} if bounded or at_least(row.version, _PROTOBUF_BOUND) else {"protobuf": "<3.21"}


def _protobuf(row: TensorflowRelease) -> Iterator[Reason]:
    if _limits(row):
        because = say(
            "TensorFlow {version} sets no limit, and its generated code does not load with protobuf 4",
            version=row.version,
        )
        yield Reason(choice=say("protobuf below 3.21"), because=because, source=_PROTOBUF)


def numpy_one(version: str) -> bool:
    """Tell whether a release is built for numpy 1, whatever its metadata lets pip take."""
    return not at_least(version, _NUMPY2)


def _unread(row: TensorflowRelease, target: Target) -> Iterator[str]:
    """Say where the wheels of the platform were not looked at; those of Linux on x86_64 and of Windows were."""
    if target.os == "macos" or target.arch != "x86_64":
        yield say(
            "which wheels TensorFlow {version} has for {os} on {arch} was not read",
            version=row.version,
            os=target.os,
            arch=target.arch,
        )


def _no_wheels(target: Target) -> Iterator[Objection]:
    if target.arch not in ("x86_64", "aarch64") or (target.os == "windows" and target.arch != "x86_64"):
        because = say("TensorFlow has no wheels for {os} on {arch}", os=target.os, arch=target.arch)
        yield Objection(constraint="platform", because=because, source=PIP_PAGE)


def _no_gpu_build(row: TensorflowRelease, target: Target) -> Iterator[Objection]:
    if target.os == "macos":
        because = say("no CUDA builds of TensorFlow are published for macOS")
    elif target.os == "windows" and not row.windows_gpu:
        because = say(
            "2.10 was the last TensorFlow that uses a GPU on native Windows; {version} does so in WSL 2",
            version=row.version,
        )
    elif target.arch != "x86_64":
        because = say("no CUDA build of TensorFlow is documented for {os} on {arch}", os=target.os, arch=target.arch)
    else:
        return
    yield Objection(constraint="platform", because=because, source=PIP_PAGE)


def _processor(row: TensorflowRelease, target: Target) -> Iterator[Objection]:
    if row.avx and target.avx is False and target.arch == "x86_64":
        because = say(
            "TensorFlow {version} is compiled for processors with AVX, and this one has none", version=row.version
        )
        yield Objection(constraint="processor", because=because, source=PIP_PAGE)


def _unwanted(row: TensorflowRelease, request: Request) -> Iterator[Objection]:
    if request.cuda not in ("auto", "cpu") and not wants_cuda(request, row.cuda):
        yield Objection(
            constraint="cuda", because=say("CUDA {cuda} was asked for", cuda=request.cuda), source=row.tested_source
        )


def _needs_ptx(row: TensorflowRelease, first_cuda: str | None) -> bool:
    """Tell whether a GPU generation is younger than the CUDA of a release, which then has no machine code for it."""
    return first_cuda is not None and compare(first_cuda, row.cuda) > 0


def _no_code(row: TensorflowRelease, target: Target, facts: Knowledge) -> Iterator[Objection]:
    for gpu, known in architectures(target, facts):
        if known is None:
            continue
        if at_least(row.version, _WITHOUT_MAXWELL) and not at_least(known.capability, "6.0"):
            because = say(
                "TensorFlow's wheels since 2.17 begin with compute capability 6.0; {card_name} is older",
                card_name=card_name(gpu),
            )
            yield Objection(constraint="gpu", because=because, source=_MAXWELL)
        elif (
            target.driver and _needs_ptx(row, known.first_cuda) and not driver_compiles(facts, row.cuda, target.driver)
        ):
            because = say(
                "TensorFlow {version} was built with CUDA {cuda}, which is older than {card_name}, and driver "
                "{driver} is too old to compile its PTX",
                version=row.version,
                cuda=row.cuda,
                card_name=card_name(gpu),
                driver=target.driver,
            )
            yield Objection(constraint="gpu", because=because, source=PIP_PAGE)


def _code_doubts(row: TensorflowRelease, target: Target, facts: Knowledge) -> Iterator[str]:
    for gpu, known in architectures(target, facts):
        if known is None:
            continue
        if _needs_ptx(row, known.first_cuda):
            yield (
                say(
                    "TensorFlow {version} was built with CUDA {cuda}, before there was {card_name}: it runs there "
                    "only through PTX, which the driver compiles at the first start, and which its wheels hold for "
                    "their newest architecture alone ({pip_page})",
                    version=row.version,
                    cuda=row.cuda,
                    card_name=card_name(gpu),
                    pip_page=PIP_PAGE,
                )
            )
        elif not at_least(known.capability, "5.0"):
            yield say(
                "whether TensorFlow {version} has code for {card_name} is not known",
                version=row.version,
                card_name=card_name(gpu),
            )
