"""What JAX published, as it would be installed on a machine."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.builds import Objection, card_name
from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.tables.frameworks import JaxCuda, JaxRelease
from envdoctor.model.speech import say
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
        name=say("JAX {version} for CUDA {cuda}", version=row.version, cuda=cuda),
        source=row.source,
        glibc=None,
        pythons=_pythons(row),
        cuda=cuda,
    )
    packages = {f"jax[cuda{cuda}]": row.version, "jaxlib": extra.jaxlib or row.version}
    reasons = []
    if extra.jaxlib:
        because = say("the extra of JAX {version} asks for that one", version=row.version)
        reasons.append(Reason(choice=say("jaxlib {jaxlib}", jaxlib=extra.jaxlib), because=because, source=row.source))
    ceiling = cudnn_ceiling(target, facts)
    doubts = [*unknown_gpus(target, facts), *_shared_doubts(row, target)]
    if ceiling and at_least(ceiling[0], "9"):
        limit, gpu, known = ceiling
        packages[f"nvidia-cudnn-cu{cuda}"] = f"<{limit}"
        because = say(
            "{limit} is the first that no longer serves {card_name}, and JAX would accept it",
            limit=limit,
            card_name=card_name(gpu),
        )
        reasons.append(
            Reason(choice=say("cuDNN below {limit}", limit=limit), because=because, source=known.cudnn_source)
        )
    if cuda == "13" and row.doubt is None and extra.capability_doubt:
        doubts.append(extra.capability_doubt)
    if request.cuda not in ("auto", "cpu") and "." in request.cuda:
        because = say(
            "JAX is published for the major version of CUDA: its packages bring CUDA {cuda}.x, of which pip takes the "
            "newest, and so for {request_cuda} too",
            cuda=cuda,
            request_cuda=request.cuda,
        )
        reasons.append(Reason(choice=say("any CUDA {cuda}", cuda=cuda), because=because, source=row.source))
    return Option(
        framework="jax",
        version=row.version,
        kind="cuda",
        packages=packages,
        source=row.source,
        pythons=traits.pythons,
        numpy=row.numpy,
        cuda=cuda,
        brought=say("CUDA {cuda}.x", cuda=cuda),
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
        name=say("JAX {version}", version=row.version),
        source=row.source,
        glibc=None,
        pythons=_pythons(row) or ("3.12",),
        cuda=None,
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
        yield say("JAX {version}: {doubt}", version=row.version, doubt=row.doubt)
    if target.os in ("linux", "wsl2") and target.glibc and not at_least(target.glibc, "2.28"):
        yield say(
            "which glibc the wheels of jaxlib {version} need was not read, and {glibc} is old",
            version=row.version,
            glibc=target.glibc,
        )


def _unread(row: JaxRelease) -> Iterator[Objection]:
    if not _pythons(row):
        because = say("which Pythons JAX {version} has wheels for was not read", version=row.version)
        yield Objection(constraint="version", because=because, source=row.source)


def _no_wheels(row: JaxRelease, target: Target) -> Iterator[Objection]:
    if target.os == "macos" and target.arch == "x86_64" and compare(row.version, _LAST_INTEL_MAC) > 0:
        because = say(
            "{last_intel_mac} was the last JAX with wheels for Macs with an Intel processor",
            last_intel_mac=_LAST_INTEL_MAC,
        )
        yield Objection(constraint="platform", because=because, source=PLATFORMS)
    elif target.arch not in ("x86_64", "aarch64") or (target.os == "windows" and target.arch != "x86_64"):
        because = say("jaxlib has no wheels for {os} on {arch}", os=target.os, arch=target.arch)
        yield Objection(constraint="platform", because=because, source=PLATFORMS)


def _no_gpu_build(row: JaxRelease, cuda: str, extra: JaxCuda, target: Target) -> Iterator[Objection]:
    if target.os == "windows":
        because = say("JAX uses no GPU on native Windows; it does in WSL 2")
        yield Objection(constraint="platform", because=because, source=PLATFORMS)
    elif target.os == "macos":
        because = say("no CUDA builds of JAX are published for macOS")
        yield Objection(constraint="platform", because=because, source=PLATFORMS)
    else:
        yield from _no_wheels(row, target)
    if not extra.plugin:
        because = say("no jax-cuda{cuda}-plugin {version} is on the package index", cuda=cuda, version=row.version)
        yield Objection(constraint="version", because=because, source=row.source)


def _unwanted(cuda: str, row: JaxRelease, request: Request) -> Iterator[Objection]:
    wanted = request.cuda
    if wanted in ("auto", "cpu"):
        return
    oldest = row.cuda12.cuda_min if cuda == "12" and row.cuda12 else None
    if major(wanted) != int(cuda) or (oldest and "." in wanted and not at_least(wanted, oldest)):
        yield Objection(constraint="cuda", because=say("CUDA {wanted} was asked for", wanted=wanted), source=row.source)


def _no_code(row: JaxRelease, cuda: str, extra: JaxCuda, target: Target, facts: Knowledge) -> Iterator[Objection]:
    for gpu, known in architectures(target, facts):
        if known is not None and not at_least(known.capability, extra.capability_min):
            because = say(
                "JAX's CUDA {cuda} wheels serve compute capability {capability_min} and newer; {card_name} is older",
                cuda=cuda,
                capability_min=extra.capability_min,
                card_name=card_name(gpu),
            )
            yield Objection(constraint="gpu", because=because, source=row.floors_source)
