"""What programs print that were built for another CUDA or cuDNN than the one that is installed."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say
from envdoctor.model.version import at_least, compare, major, minor, readable
from envdoctor.rules.messages.missing import MAJORS, MISSING, installed, number, serves, wanted_by
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.told import Said, built_for, newer, on_windows, said, tensorflow_cuda, toolkit_versions, unseen

TF_TESTED = "https://www.tensorflow.org/install/source#gpu"
ORT = "https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html"


@rule(
    "MSG402",
    "framework-cuda-mismatch",
    "error",
    needs=("problems",),
    supersedes=("MSG401", "MSG403", "MSG501", "MSG905", "MSG502", "MSG613"),
    sources=(TF_TESTED, ORT),
)
def other_cuda(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The framework was built for another CUDA or cuDNN than the one that is installed.

    A library's name carries its major version, for CUDA before 11 the minor one too: libcudart.so.10.1 comes with
    CUDA 10.1 and with no other. A program that is linked to it does not take another.

    Check: the table of tested builds, and `ls /usr/local/cuda/lib64/libcudart.so*`.
    Where the wanted version is installed, the loader does not look there; where none is, it is missing.
    """
    line = _other_needed(machine)
    if line is not None:
        yield _mismatch(line, say("The program says itself which versions it needs."))
        return
    missing = said(machine, *MISSING)
    if missing is None:
        yield from _tested(machine, facts)
        yield from _onnxruntime(machine, facts)
        return
    library, wanted = wanted_by(missing)
    have = installed(machine, library)
    majors = MAJORS.get((library, number(missing).partition(".")[0]), ()) if not wanted else ()
    if majors and have and not any(str(major(version)) in majors for version in have):
        wanted = majors[-1]
    elif not wanted and library != "cudnn" and have:
        # The number of this library does not follow CUDA's; what the framework was built with has to decide.
        wanted = built_for(machine, facts) or ""
    if not wanted or not have or any(serves(version, wanted) for version in have):
        return
    yield _mismatch(
        missing,
        say(
            "The program wants {library} {wanted}; the report shows {versions}.",
            library="cuDNN" if library == "cudnn" else "CUDA",
            wanted=wanted,
            versions=", ".join(dict.fromkeys(have)),
        ),
    )


def _tested(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """Compare the toolkit of a report with the one TensorFlow was built with, where it uses no GPU."""
    python = machine.python
    tensorflow = python.framework("tensorflow") if python else None
    wanted = (
        (tensorflow.cuda or tensorflow_cuda(facts, tensorflow.version))
        if tensorflow and tensorflow.gpu_build is not False
        else None
    )
    have = toolkit_versions(machine)
    line = unseen(machine) if wanted and have else None
    if not line or not wanted or any(serves(version, wanted) for version in have):
        return
    if on_windows(machine) and tensorflow and newer(tensorflow.version, "2.11"):
        return
    assert tensorflow
    found_line = _mismatch(
        line,
        say(
            "TensorFlow {version} is built for CUDA {wanted}; the report shows {versions}.",
            version=tensorflow.version,
            wanted=wanted,
            versions=", ".join(dict.fromkeys(have)),
        ),
    )
    yield found_line._replace(certainty="likely")


def _onnxruntime(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """Compare the toolkit of a report with the CUDA of onnxruntime-gpu's release, where its provider does not start."""
    python = machine.python
    ort = python.package("onnxruntime-gpu") if python else None
    line = said(
        machine,
        r"(?i)Failed to create CUDAExecutionProvider",
        r"(?i)(?:LoadLibrary failed|failed to load|error loading)[^\n]{0,160}onnxruntime_providers_cuda\.\w{2,3}",
        r"(?i)CUDA_PATH is set but CUDA was ?n'?t able to be loaded",
    )
    have = toolkit_versions(machine)
    if not ort or not readable(ort.version) or not line or not have:
        return
    wanted = [
        str(row.cuda) for row in facts.onnxruntime_releases if minor(row.version) == minor(ort.version) and row.cuda
    ]
    # The table of the documentation also has builds that another index than PyPI offered.
    elsewhere = not wanted or said(machine, r"(?i)extra-index|onnxruntime-cuda-1\d|index-url")
    wanted += [
        cuda
        for row in facts.onnxruntime_cuda
        if elsewhere and at_least(ort.version, row.first) and not compare(minor(ort.version), row.last) > 0
        for cuda in row.cuda
    ]
    if wanted and not any(serves(version, cuda) for version in have for cuda in wanted):
        yield _mismatch(
            line,
            say(
                "onnxruntime-gpu {version} is built for CUDA {wanted}; the report shows {have}.",
                version=ort.version,
                wanted=wanted[0],
                have=", ".join(have),
            ),
        )


def _mismatch(line: Said, detail: str) -> Found:
    return found(
        say("The program was built for another CUDA or cuDNN than the installed one"),
        say("{detail} The major version must be the same.", detail=detail),
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary=say(
                    "Install the build of the program for the CUDA that is there (onnxruntime-gpu and others have one "
                    "index for each CUDA)."
                ),
                effect="changes-env",
                page=ORT,
            ),
            Fix(
                summary=say("Or install the CUDA and cuDNN that its table of tested builds names."),
                effect="changes-env",
                page=TF_TESTED,
            ),
        ),
    )


def _other_needed(machine: Snapshot) -> Said | None:
    return said(
        machine,
        r"(?i)require cuDNN \d+\.\* and CUDA \d+\.\*",
        (
            r"(?i)The installed Paddle is compiled with CUDA ?[\d.]+,? but CUDA[^\n]{0,30}(?:in "
            r"your machine|version) is [\d.]+"
        ),
        r"(?i)(?:cudnn|cuda) (?:major )?version mismatch[^\n]{0,80}",
        r"(?i)bitsandbytes CUDA binary at [^\n]{0,160}libbitsandbytes_cuda\d{2,3}\w{0,12}\.(?:so|dll)",
        r"(?i)(?:version|binary) not found[^\n]{0,160}libbitsandbytes_cuda\d{2,3}\w{0,12}\.(?:so|dll)",
    )
