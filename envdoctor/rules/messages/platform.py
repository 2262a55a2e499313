"""What PyTorch prints on machines of a kind of their own: Apple's, and NVIDIA's Jetson boards."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.told import UNSEEN, on_jetson, said

JETSON = "https://docs.nvidia.com/deeplearning/frameworks/install-pytorch-jetson-platform/index.html"


@rule(
    "MSG606",
    "mps-unavailable",
    "error",
    needs=("problems",),
    supersedes=("MSG501", "MSG218"),
    sources=("https://docs.pytorch.org/docs/stable/notes/mps.html",),
)
def mps(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The build has Apple's MPS backend, and this system does not offer it.

    MPS needs macOS 12.3, or 14 for newer releases of PyTorch, an arm64 Python on Apple silicon, and a real machine: a
    virtual one has no Metal device.

    Check: `python -c "import torch; print(torch.backends.mps.is_built(), torch.backends.mps.is_available())"`.
    """
    line = said(
        machine,
        r"(?i)MPS backend is supported on MacOS",
        r"(?i)MPS[^\n]{0,30} not available because",
        r"(?i)not linked with support for mps devices",
        (
            r"(?i)mps\.is_available\(\)[^\n]{0,20}\n?[^\n]{0,12}False|mps\S* (?:is )?(?:not "
            r"available|unavailable)|mps[^\n]{0,30}(?:not available|unavailable|False)"
        ),
        r"(?i)MPS is not available|MPS device[^\n]{0,20}not",
    )
    if line is None:
        return
    yield found(
        say("Apple's MPS is not available here, though PyTorch may have it built in"),
        say("macOS is too old for this PyTorch, or Python runs as x86_64 under Rosetta."),
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary=say("Update macOS (14 or newer for current PyTorch), and use an arm64 Python."),
                effect="changes-env",
            ),
        ),
    )


@rule(
    "MSG607",
    "jetson-needs-nvidia-wheel",
    "error",
    certainty="likely",
    needs=("problems", "system.jetson"),
    supersedes=("MSG401", "MSG402", "MSG501", "MSG601", "MSG905", "MSG613", "TORCH001", "MSG214"),
    sources=(JETSON,),
)
def jetson(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A Jetson needs wheels that NVIDIA builds for its JetPack.

    Its GPU is integrated and its driver part of the system; wheels of the package index for aarch64 are for the CPU,
    or for servers.

    Check: `python3 -c "import torch; print(torch.version.cuda)"` after installing NVIDIA's wheel.
    """
    if not on_jetson(machine) or said(machine, r"\.whl is not a supported wheel"):
        return
    line = said(
        machine,
        *UNSEEN,
        (
            r"(?i)no kernel image|undefined symbol|cannot open shared object|could not "
            r"find a version|illegal instruction|invalid resource handle|driver version "
            r"is insufficient|found no nvidia driver|error"
        ),
    )
    if line is None:
        return
    yield found(
        say("A Jetson needs the wheel that NVIDIA builds for its JetPack"),
        say("The package index has no wheel for its GPU."),
        evidence=(line.evidence, "system.jetson"),
        fixes=(
            Fix(
                summary=say(
                    "Install NVIDIA's wheel for the JetPack release on the board, or use its container l4t-pytorch."
                ),
                effect="changes-env",
                page=JETSON,
            ),
        ),
    )
