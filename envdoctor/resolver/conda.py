"""The conda-forge stack nearest to a pip one; often another release, because conda-forge builds fewer CUDA versions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from envdoctor.knowledge.builds import Candidate, gpus_of
from envdoctor.knowledge.fit import code_serves, driver_knows, driver_runs
from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.tables import CondaBuild, CondaCuda, TorchRelease
from envdoctor.model.speech import message, say
from envdoctor.model.stack import Reason, Request, Target
from envdoctor.model.version import at_least, compare, minor, numbers
from envdoctor.resolver.candidates import wants_cuda, wants_version

EMPTY_NOTE = message("conda brings Python only, and pip brings the rest")


class CondaStack(NamedTuple):
    """What environment.yml asks of conda-forge, and a word where that differs from the pip stack."""

    packages: dict[str, str]
    note: str | None


class _Choice(NamedTuple):
    row: CondaBuild
    release: TorchRelease
    cuda: str | None


def conda_stack(
    candidate: Candidate, python: str, numpy: str, request: Request, target: Target, facts: Knowledge
) -> CondaStack:
    """Choose the packages of conda-forge that come nearest to a pip stack and run on the same machine.

    The release is the pip stack's where conda-forge has it with a CUDA that fits, else the newest it has so; a release
    or a CUDA that was asked for is kept to. No packages: conda-forge has none.
    """
    build = candidate.build
    if build.kind == "rocm":
        return CondaStack(
            {}, say("conda-forge has no ROCm builds of pytorch; {empty_note}.", empty_note=say(EMPTY_NOTE))
        )
    if build.kind == "xpu":
        return CondaStack(
            {},
            say("conda-forge's builds for Intel GPUs are not in the tables; {empty_note}.", empty_note=say(EMPTY_NOTE)),
        )
    if build.kind == "cuda" and target.arch == "aarch64":
        return CondaStack(
            {},
            say(
                "conda-forge's CUDA builds for aarch64 are not in the tables; {empty_note}.", empty_note=say(EMPTY_NOTE)
            ),
        )
    chosen = max(
        _choices(candidate, request, target, facts), key=lambda each: _preference(each, candidate), default=None
    )
    if chosen is None:
        what = say("pytorch {version}", version=build.release.version) if request.framework_version else "pytorch"
        if build.cuda:
            what = say("{package} with CUDA {cuda}", package=what, cuda=build.cuda)
        source = facts.conda_builds[0].source
        return CondaStack(
            {},
            say(
                "conda-forge has no {package} for this target ({source}); {empty_note}.",
                package=what,
                source=source,
                empty_note=say(EMPTY_NOTE),
            ),
        )
    return _packages(chosen, candidate, python, numpy, target, facts)


def conda_for_gpus(target: Target, facts: Knowledge) -> Reason | None:
    """Name the newest build of conda-forge that runs on every NVIDIA GPU of a machine; None: it has none.

    Its builds hold code for more generations than pip's, so that it may serve a mixed machine which no wheel does.
    """
    known = [gpu.capability for gpu in gpus_of(target, "nvidia")]
    if target.arch != "x86_64" or target.os == "macos" or not all(known):
        return None
    if target.driver and not all(driver_knows(facts, target.driver, each or "") for each in known):
        return None
    for row in facts.conda_builds:
        for build in reversed(_builds_for(row, target)):
            if _runs(build, target, facts):
                because = say(
                    "its pytorch {pytorch} is built with CUDA {cuda} and has code for all these GPUs: conda install "
                    "-c conda-forge pytorch-gpu={pytorch} cuda-version={cuda}",
                    pytorch=row.pytorch,
                    cuda=build.cuda,
                )
                return Reason(choice="conda-forge", because=because, source=row.source)
    return None


def _choices(candidate: Candidate, request: Request, target: Target, facts: Knowledge) -> Iterator[_Choice]:
    for row in facts.conda_builds:
        release = _release_of(row, candidate.build.release, request, facts)
        if release is None:
            continue
        if candidate.build.kind != "cuda":
            yield _Choice(row, release, None)
            continue
        for build in _builds_for(row, target):
            if (request.cuda == "auto" or wants_cuda(request, build.cuda)) and _runs(build, target, facts):
                yield _Choice(row, release, build.cuda)


def _builds_for(row: CondaBuild, target: Target) -> tuple[CondaCuda, ...]:
    if target.os != "windows":
        return row.builds
    # Windows builds come from the same recipe; 12.8 shares the architecture list of 12.9 there.
    lists = {each: build for build in row.builds for each in (numbers(build.cuda)[:1], numbers(build.cuda))}
    return tuple(
        CondaCuda(cuda=cuda, sm=build.sm, ptx=build.ptx)
        for cuda in row.cuda_windows
        for build in (lists.get(numbers(cuda)) or lists[numbers(cuda)[:1]],)
    )


def _runs(build: CondaCuda, target: Target, facts: Knowledge) -> bool:
    if target.driver and driver_runs(facts, build.cuda, target.driver, target.os) is False:
        return False
    if target.glibc and build.glibc and not at_least(target.glibc, build.glibc):
        return False
    return all(
        build.sm is not None
        and not _without_cudnn(gpu.capability, facts)
        and code_serves(facts, build.sm, build.ptx, gpu.capability, cuda=build.cuda, driver=target.driver) != "none"
        for gpu in gpus_of(target, "nvidia")
        if gpu.capability
    )


def _without_cudnn(capability: str, facts: Knowledge) -> bool:
    """Tell whether conda-forge's builds, which take cuDNN 9, leave a GPU without one: Kepler's ended inside 8."""
    row = facts.architecture(capability)
    return row is not None and row.cudnn_dropped is not None and not at_least(row.cudnn_dropped, "9")


def _preference(choice: _Choice, candidate: Candidate) -> tuple[bool, tuple[int, ...], tuple[int, ...]]:
    wanted, cuda = candidate.build.release.version, candidate.build.cuda
    far = (
        [abs(a - b) for a, b in zip(numbers(choice.cuda), numbers(cuda), strict=False)] if choice.cuda and cuda else []
    )
    return choice.release.version == wanted, numbers(choice.release.version), tuple(-each for each in far)


def _release_of(row: CondaBuild, wanted: TorchRelease, request: Request, facts: Knowledge) -> TorchRelease | None:
    """Give the release of a row that serves best: the pip stack's where the row holds it, else the row's newest."""
    inside = compare(row.first, wanted.version) <= 0 <= compare(row.pytorch, wanted.version)
    if inside and wanted.version not in row.skipped:
        return wanted
    release = facts.torch(row.pytorch)
    return release if release and wants_version(request, release.version) else None


def _packages(
    choice: _Choice, candidate: Candidate, python: str, numpy: str, target: Target, facts: Knowledge
) -> CondaStack:
    release, version = choice.release, choice.release.version
    notes = []
    if version != candidate.build.release.version:
        asked = say("CUDA {cuda}", cuda=minor(choice.cuda)) if choice.cuda else say("the CPU")
        notes.append(
            say(
                "conda-forge's newest pytorch for {asked} is {version}, pip's is {release_version}",
                asked=asked,
                version=version,
                release_version=candidate.build.release.version,
            )
        )
    if choice.cuda and choice.cuda != candidate.build.cuda:
        notes.append(
            say(
                "conda-forge builds it with CUDA {cuda}, not {build_cuda}",
                cuda=choice.cuda,
                build_cuda=candidate.build.cuda,
            )
        )
    packages = {"python": _python(python, release, notes), "pytorch": f"{version}={_selector(choice.cuda)}"}
    if choice.cuda:
        packages["pytorch-gpu"] = f"{version}.*"
        packages.update(_cuda_packages(choice.cuda))
    packages["numpy"] = numpy if release.numpy2 else "<2"
    dropped = _cudnn_limit(choice, target, facts)
    if dropped:
        packages["cudnn"] = f"<{dropped}"
        notes.append(
            say("cuDNN stays below {dropped}, the first that no longer serves a GPU of this machine", dropped=dropped)
        )
    note = "; ".join(notes)
    return CondaStack(packages, f"{note[:1].upper()}{note[1:]} ({choice.row.source})." if note else None)


def _selector(cuda: str | None) -> str:
    """Match conda-forge's build strings for one CUDA: cuda129_mkl_py312_h1234567_300, cpu_generic_py312_h1234567_0.

    Without it a host where no driver answers gets the CPU build, and one with a driver a CUDA build for the CPU's.
    """
    return f"cuda{cuda.replace('.', '')}*" if cuda else "cpu*"


def _cuda_packages(cuda: str) -> dict[str, str]:
    """Pin CUDA: up to 11.8 it is one package, cudatoolkit; from 11.8 on builds ask for cuda-version."""
    packages = {"cudatoolkit": cuda} if not at_least(cuda, "12") else {}
    return {**packages, "cuda-version": cuda} if at_least(cuda, "11.8") else packages


def _python(python: str, release: TorchRelease, notes: list[str]) -> str:
    if compare(release.python_min, python) <= 0 <= compare(release.python_max, python):
        return python
    nearest = release.python_max if compare(python, release.python_max) > 0 else release.python_min
    notes.append(
        say(
            "pytorch {version} is not built for Python {python}, so it is {nearest} here",
            version=release.version,
            python=python,
            nearest=nearest,
        )
    )
    return nearest


def _cudnn_limit(choice: _Choice, target: Target, facts: Knowledge) -> str | None:
    """Give the cuDNN that would be too new for a GPU of the target, where conda could pick it."""
    if choice.cuda is None or numbers(choice.cuda)[0] < 12:
        return None
    rows = [facts.architecture(gpu.capability) for gpu in gpus_of(target, "nvidia") if gpu.capability]
    limits = [row.cudnn_dropped for row in rows if row and row.cudnn_dropped]
    return min(limits, key=numbers, default=None)
