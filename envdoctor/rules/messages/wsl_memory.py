"""What happens in WSL when its settings, its memory or a release of Windows are at fault."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.remedies import in_windows
from envdoctor.rules.told import in_wsl, mentions, said

GUIDE = "https://docs.nvidia.com/cuda/wsl-user-guide/index.html"
CONFIG = "https://learn.microsoft.com/windows/wsl/wsl-config"
INSTALL = "https://learn.microsoft.com/windows/wsl/install"
GPU_START = "https://learn.microsoft.com/windows/ai/directml/gpu-cuda-in-wsl"

# GPU support came with Insider build 20145 and, in the release line, with 21H2.
FIRST_INSIDER, FIRST_RELEASE, FIRST_ELEVEN = 20145, 19044, 22000


@rule(
    "MSG106",
    "wslconfig-ignored",
    "error",
    certainty="likely",
    needs=("problems", "system.wsl"),
    supersedes=("MSG107", "MSG801"),
    sources=(CONFIG,),
)
def config_ignored(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """WSL does not apply .wslconfig, so its own limits stay.

    The file must be called .wslconfig without .txt behind it, lie in the Windows user's folder, be saved as UTF-8 or
    ASCII, and have its keys below [wsl2]; it is read when the virtual machine starts, after `wsl --shutdown`.

    Check: `free -h` in the distribution shows the memory that the file names.
    """
    if not in_wsl(machine):
        return
    line = said(
        machine,
        (
            r"(?i)\.wslconfig[^\n]{0,120}(?:ignored|no effect|not (?:being )?(?:applied|"
            r"read|respected|working|loaded)|doesn'?t|does not|without effect|still)"
        ),
        (
            r"(?i)(?:ignor|no effect|not (?:applied|respected|read)|still (?:only )?(?:shows?|"
            r"has|limited|uses?))[^\n]{0,120}\.wslconfig"
        ),
        r"(?i)wsl: [^\n]{0,60}\.wslconfig(?::\d+)?",
        (
            r"(?i)\.wslconfig\.txt|\.wslconfig[^\n]{0,60}(?:utf-?16|ucs-?2|\bBOM\b|encod)"
            r"|(?:utf-?16|ucs-?2|\bBOM\b|encod)[^\n]{0,60}\.wslconfig"
        ),
    ) or (
        said(machine, r"(?i)\.wslconfig")
        if mentions(machine, r"\bmemory ?= ?\d+")
        and mentions(
            machine, r"\bfree\b[^\n]{0,20}-|MemTotal|^Mem:|total +used +free|not chang|still|only \d+|不生效|没有生效"
        )
        else None
    )
    if line is None:
        return
    yield found(
        say("WSL does not apply .wslconfig, so the default memory limit stays"),
        say("Without it WSL gives Linux half of the memory (earlier versions: at most 8 GB on some builds)."),
        evidence=(line.evidence,),
        fixes=(
            in_windows(
                say(
                    "Save the file as %UserProfile%\\.wslconfig in UTF-8, with [wsl2] above memory=, then restart WSL."
                ),
                ("wsl", "--shutdown"),
                page=CONFIG,
            ),
        ),
    )


@rule(
    "MSG107",
    "wsl-memory-limit",
    "error",
    certainty="likely",
    needs=("problems", "system.wsl"),
    supersedes=("MSG801",),
    sources=(CONFIG,),
)
def memory_limit(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A process was killed inside WSL 2 because the virtual machine's own memory was used up.

    WSL gives Linux half of the computer's memory unless .wslconfig says otherwise. Loading a model needs host memory
    of about its size first, so the kernel ends the process although Windows has memory left.

    Check: `free -h` in the distribution, and `dmesg | grep -i oom`.
    """
    if not in_wsl(machine):
        return
    line = said(
        machine,
        r"(?m)^(?:[\w./$ #~:@-]{0,60} )?Killed\s*$",
        r"(?i)out of memory: kill(?:ed)? process|oom[-_ ]kill",
        r"(?i)exit(?:ed)? (?:with )?(?:code|status):? ?(?:-9|137)\b|signal 9|SIGKILL",
        r"(?i)\bkilled\b",
        r"(?i)DefaultCPUAllocator|cannot allocate memory|MemoryError",
        r"(?i)vmmem[^\n]{0,60}(?:memory|ram)|wsl[^\n]{0,60}(?:half|50 ?%) of",
    )
    if line is None:
        return
    yield found(
        say("The process ran out of the memory that WSL gives to Linux"),
        say("By default that is half of the computer's memory."),
        evidence=(line.evidence,),
        fixes=(
            in_windows(
                say("Set memory= and swap= below [wsl2] in %UserProfile%\\.wslconfig, then restart WSL."),
                ("wsl", "--shutdown"),
                page=CONFIG,
            ),
        ),
    )


@rule(
    "MSG108",
    "known-broken-release",
    "error",
    certainty="likely",
    needs=("problems", "system.wsl"),
    supersedes=("MSG206", "MSG211"),
    sources=("https://github.com/microsoft/WSL/issues/6617",),
)
def broken_release(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A release of Windows, its driver or WSL broke GPU access that worked before.

    nvidia-smi that crashes in WSL, or GPU access that went with an update of Windows or of its driver while the
    distribution was not touched, is a defect of that release. There the way out is another release, not a setting.

    Check: `nvidia-smi` in Windows and in WSL after the change of release.
    """
    if not in_wsl(machine):
        return
    line = said(
        machine,
        r"(?i)nvidia-smi[^\n]{0,40}(?:\n[^\n]{0,40})?segmentation fault|segmentation fault[^\n]{0,60}nvidia-smi",
        (
            r"(?i)(?:after|since) (?:the |an? |i )?(?:upgrad|updat)\w*[^\n]{0,30} (?:to "
            r")?(?:windows|build|\d{5}|driver|\d{3}\.\d\d)[^\n]{0,60}"
        ),
        (
            r"(?i)(?:worked|working|works|fine|ok) (?:\w+ ){0,3}(?:on|with|in|before|until|"
            r"under) [^\n]{0,30}(?:build|\d{5}|driver|\d{3}\.\d\d)[^\n]{0,60}"
        ),
        r"(?i)(?:roll(?:ed|ing)? ?back|downgrad\w+|revert\w*)[^\n]{0,60}(?:driver|build|\d{3}\.\d\d)[^\n]{0,40}",
    )
    if line is None:
        return
    yield found(
        say("A release of Windows or its NVIDIA driver broke GPU access in WSL"),
        say("The same distribution worked with another release, so nothing inside it is at fault."),
        evidence=(line.evidence,),
        fixes=(
            in_windows(
                say("Install another release of the driver, or the next build of Windows, then run wsl --shutdown."),
                ("wsl", "--shutdown"),
            ),
        ),
    )


@rule(
    "WSL006",
    "wsl-libcuda-copies",
    "note",
    needs=("problems", "system.wsl"),
    sources=(GUIDE,),
)
def not_a_link(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A line of ldconfig about libcuda.so.1 in /usr/lib/wsl/lib, which is not a symbolic link, is harmless.

    The Windows driver brings three equal files where ldconfig expects links, so that every installation of a package
    prints this line. CUDA does not mind, and the folder cannot be written to from Linux.

    Check: `ls -l /usr/lib/wsl/lib/libcuda*`.
    """
    line = said(machine, r"(?i)/usr/lib/wsl/lib/libcuda\S* is not a symbolic link")
    if line is None or not in_wsl(machine):
        return
    yield found(
        say("ldconfig's line about libcuda.so.1 in WSL is harmless"),
        say("The Windows driver brings copies where ldconfig expects links; CUDA works with them."),
        evidence=(line.evidence,),
    )
