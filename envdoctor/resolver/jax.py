"""What JAX published, as it would be installed on a machine."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.builds import Objection, card_name
from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.tables.frameworks import JaxCuda, JaxRelease
from envdoctor.model.stack import Reason, Request, Target
from envdoctor.model.version import at_least, compare, major, minor
from envdoctor.resolver.options import Option, Traits, against, architectures, cudnn_ceiling, unknown_gpus

PLATFORMS = "https://docs.jax.dev/en/latest/installation.html"
_LAST_INTEL_MAC = "0.4.38"


def options(request: Request, target: Target, facts: Knowledge) -> Iterator[Option]:
    """Give every release for CUDA 13, CUDA 12 and the CPU, newest first, with what stands against it on the target."""
    for row in facts.jax_releases:
        for cuda, extra in (("13", row.cuda13), ("12", row.cuda12)):
            if extra is not None and row.extras is not None and f"cuda{cuda}" in row.extras:
                yield _cuda(row, cuda, extra, request, target, facts)
        yield _cpu(row, request, target, facts)


def _pythons(row: JaxRelease) -> tuple[str, ...]:
    if row.requires_python is None or row.python_max is None:
        return ()
    first, last = (int(minor(text).partition(".")[2]) for text in (row.requires_python, row.python_max))
    return tuple(f"3.{each}" for each in range(first, last + 1))


def _cuda(row: JaxRelease, cuda: str, extra: JaxCuda, request: Request, target: Target, facts: Knowledge) -> Option:
    traits = Traits(
        name=f"JAX {row.version} for CUDA {cuda}", source=row.source, glibc=None, pythons=_pythons(row), cuda=cuda
    )
    packages = {f"jax[cuda{cuda}]": row.version, "jaxlib": extra.jaxlib or row.version}
    reasons = []
    if extra.jaxlib:
        because = f"the extra of JAX {row.version} asks for that one"
        reasons.append(Reason(choice=f"jaxlib {extra.jaxlib}", because=because, source=row.source))
    ceiling = cudnn_ceiling(target, facts)
    doubts = [*unknown_gpus(target, facts), *_shared_doubts(row, target)]
    if ceiling and at_least(ceiling[0], "9"):
        limit, gpu, known = ceiling
        packages[f"nvidia-cudnn-cu{cuda}"] = f"<{limit}"
        because = f"{limit} is the first that no longer serves {card_name(gpu)}, and JAX would accept it"
        reasons.append(Reason(choice=f"cuDNN below {limit}", because=because, source=known.cudnn_source))
    if cuda == "13" and row.doubt is None and extra.capability_doubt:
        doubts.append(extra.capability_doubt)
    if request.cuda not in ("auto", "cpu") and "." in request.cuda:
        because = (
            f"JAX is published for the major version of CUDA: its packages bring CUDA {cuda}.x, of which pip takes the "
            f"newest, and so for {request.cuda} too"
        )
        reasons.append(Reason(choice=f"any CUDA {cuda}", because=because, source=row.source))
    return Option(
        framework="jax",
        version=row.version,
        kind="cuda",
        packages=packages,
        source=row.source,
        pythons=traits.pythons,
        numpy=row.numpy,
        cuda=cuda,
        brought=f"CUDA {cuda}.x",
        doubts=tuple(doubts),
        reasons=tuple(reasons),
        objections=(
            *_no_gpu_build(row, cuda, extra, target),
            *_unread(row),
            *against(row.version, traits, request, target, facts),
            *_unwanted(cuda, row, request),
            *_no_code(row, cuda, extra, target, facts),
        ),
    )


def _cpu(row: JaxRelease, request: Request, target: Target, facts: Knowledge) -> Option:
    traits = Traits(
        name=f"JAX {row.version}", source=row.source, glibc=None, pythons=_pythons(row) or ("3.12",), cuda=None
    )
    return Option(
        framework="jax",
        version=row.version,
        kind="cpu",
        packages={"jax": row.version, "jaxlib": row.version},
        source=row.source,
        pythons=traits.pythons,
        numpy=row.numpy,
        doubts=tuple(_shared_doubts(row, target)),
        objections=(*_no_wheels(row, target), *_unread(row), *against(row.version, traits, request, target, facts)),
    )


def _shared_doubts(row: JaxRelease, target: Target) -> Iterator[str]:
    if row.doubt:
        yield f"JAX {row.version}: {row.doubt}"
    if target.os in ("linux", "wsl2") and target.glibc and not at_least(target.glibc, "2.28"):
        yield f"which glibc the wheels of jaxlib {row.version} need was not read, and {target.glibc} is old"


def _unread(row: JaxRelease) -> Iterator[Objection]:
    if not _pythons(row):
        because = f"which Pythons JAX {row.version} has wheels for was not read"
        yield Objection(constraint="version", because=because, source=row.source)


def _no_wheels(row: JaxRelease, target: Target) -> Iterator[Objection]:
    if target.os == "macos" and target.arch == "x86_64" and compare(row.version, _LAST_INTEL_MAC) > 0:
        because = f"{_LAST_INTEL_MAC} was the last JAX with wheels for Macs with an Intel processor"
        yield Objection(constraint="platform", because=because, source=PLATFORMS)
    elif target.arch not in ("x86_64", "aarch64") or (target.os == "windows" and target.arch != "x86_64"):
        because = f"jaxlib has no wheels for {target.os} on {target.arch}"
        yield Objection(constraint="platform", because=because, source=PLATFORMS)


def _no_gpu_build(row: JaxRelease, cuda: str, extra: JaxCuda, target: Target) -> Iterator[Objection]:
    if target.os == "windows":
        because = "JAX uses no GPU on native Windows; it does in WSL 2"
        yield Objection(constraint="platform", because=because, source=PLATFORMS)
    elif target.os == "macos":
        because = "no CUDA builds of JAX are published for macOS"
        yield Objection(constraint="platform", because=because, source=PLATFORMS)
    else:
        yield from _no_wheels(row, target)
    if not extra.plugin:
        because = f"no jax-cuda{cuda}-plugin {row.version} is on the package index"
        yield Objection(constraint="version", because=because, source=row.source)


def _unwanted(cuda: str, row: JaxRelease, request: Request) -> Iterator[Objection]:
    wanted = request.cuda
    if wanted in ("auto", "cpu"):
        return
    oldest = row.cuda12.cuda_min if cuda == "12" and row.cuda12 else None
    if major(wanted) != int(cuda) or (oldest and "." in wanted and not at_least(wanted, oldest)):
        yield Objection(constraint="cuda", because=f"CUDA {wanted} was asked for", source=row.source)


def _no_code(row: JaxRelease, cuda: str, extra: JaxCuda, target: Target, facts: Knowledge) -> Iterator[Objection]:
    for gpu, known in architectures(target, facts):
        if known is not None and not at_least(known.capability, extra.capability_min):
            because = (
                f"JAX's CUDA {cuda} wheels serve compute capability {extra.capability_min} and newer; {card_name(gpu)} "
                "is older"
            )
            yield Objection(constraint="gpu", because=because, source=row.floors_source)
