"""WSL: how the machine is set up from the Windows side, as far as that is visible from inside."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot, Wsl
from envdoctor.model.speech import say
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.remedies import in_windows, unset_variable
from envdoctor.rules.wording import listed, size

_CONFIG = "https://learn.microsoft.com/windows/wsl/wsl-config"
_GIB = 1 << 30
_LITTLE = 12 * _GIB  # a threshold of ours
_WINDOWS_DRIVES = ("9p", "drvfs", "virtiofs")
_SMALL_DRIVE = 20 * 10**9  # a threshold of ours
_HERE = ("127.0.0.1", "localhost", "[::1]", "::1")


def _wsl2(machine: Snapshot) -> Wsl | None:
    wsl = machine.wsl
    inside = machine.system is not None and machine.system.container is not None
    return wsl if wsl is not None and wsl.version == 2 and not inside else None


def setting(wsl: Wsl, name: str) -> str | None:
    """Give a setting of .wslconfig; None: it is not set, or the file was not found."""
    return next((each.value for each in wsl.settings or () if each.name == name), None)


@rule(
    "WSL007",
    "wsl-memory-limit",
    "warning",
    certainty="likely",
    needs=("system.wsl", "memory.total_bytes", "gpus.memory_bytes"),
    supersedes=("MEM001",),
    sources=(_CONFIG,),
)
def wsl_has_little_memory(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """WSL has little memory: by default it gets half of what Windows has.

    Loading a model then ends Python, or the whole of WSL.

    Needed: as much as the GPU's memory, and 12 GiB at the least (a threshold of ours).
    Check: `free -h` after `wsl --shutdown` and a new start.
    That .wslconfig sets the limit is only said where the file was found and sets it; it counts from the next start on.
    """
    wsl, memory = _wsl2(machine), machine.memory
    if wsl is None or memory is None:
        return
    largest = max((g.memory_bytes or 0 for g in machine.gpus if g.vendor == "nvidia"), default=0)
    need = max(_LITTLE, largest)
    if memory.total_bytes >= need * 0.95 or not machine.gpus:
        return
    limit = setting(wsl, "wsl2.memory")
    goal = max(16, -(-need * 2 // _GIB) if largest else 16)
    yield found(
        say(
            "WSL has {memory} of memory beside a GPU with {gpu_memory}",
            memory=size(memory.total_bytes),
            gpu_memory=size(largest),
        )
        if largest
        else say("WSL has {memory} of memory", memory=size(memory.total_bytes)),
        (
            say(".wslconfig sets memory={limit}.", limit=limit) + " "
            if limit
            else say("By default WSL gets half of the memory of Windows.") + " "
        )
        + say("Loading a large model ends the program, or WSL itself."),
        evidence=("memory.total_bytes", *(("system.wsl.settings",) if limit else ())),
        fixes=(
            in_windows(
                say(
                    "In .wslconfig in your Windows home folder, set memory={goal}GB (as far as Windows has it) and "
                    "swap=16GB in the section [wsl2], then restart WSL.",
                    goal=goal,
                ),
                ("wsl", "--shutdown"),
                page=_CONFIG,
            ),
        ),
    )


@rule(
    "WSL008",
    "wsl-files-on-windows-drive",
    "warning",
    needs=("system.wsl", "disks.filesystem"),
    sources=(
        "https://learn.microsoft.com/windows/wsl/filesystems",
        "https://learn.microsoft.com/windows/wsl/compare-versions",
    ),
)
def files_lie_on_windows_drive(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The environment or a cache lies on a drive of Windows.

    Each access to a file there crosses into Windows, which is many times slower for thousands of small files.

    Check: `df -T` of the environment shows ext4.
    Only the environment, pip's cache and the home folder are judged; large data may well lie there.
    """
    if _wsl2(machine) is None:
        return
    for place, disk in enumerate(machine.disks):
        purposes = [each for each in ("environment", "cache", "home") if each in disk.purposes]
        if disk.filesystem not in _WINDOWS_DRIVES or not purposes:
            continue
        names = {"environment": say("environment"), "cache": say("pip's cache"), "home": say("home folder")}
        yield found(
            say(
                "The {purposes} on {path} lies on a drive of Windows",
                purposes=listed(names[each] for each in purposes),
                path=disk.path,
            ),
            say("Imports and installations are many times slower there than in Linux's own file system."),
            evidence=(f"disks[{place}].filesystem", f"disks[{place}].path"),
            fixes=(Fix(summary=say("Make the environment below your Linux home folder, and move the project there.")),),
        )


@rule(
    "WSL010",
    "wsl-proxy-unreachable",
    "warning",
    certainty="likely",
    needs=("system.wsl", "variables", "system.wsl.settings"),
    sources=("https://learn.microsoft.com/windows/wsl/networking", _CONFIG),
)
def proxy_of_windows_is_elsewhere(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A proxy on localhost is set, and in WSL localhost is not Windows.

    By default WSL has a network of its own, and a proxy that runs in Windows is not reached under that name. pip and
    Hugging Face then wait in vain.

    Needed: mirrored networking, or the address of Windows.
    Check: `curl -I https://download.pytorch.org`.
    Silent with networkingMode=mirrored. A proxy that really runs inside WSL would be reached, which is why this is only
    likely.
    """
    wsl = _wsl2(machine)
    if wsl is None or setting(wsl, "wsl2.networkingmode") == "mirrored":
        return
    proxies = [each for each in machine.variables if each.name.lower() in ("http_proxy", "https_proxy", "all_proxy")]
    local = [each for each in proxies if _host_of(each.value) in _HERE]
    if not local:
        return
    yield found(
        say("{name} names a proxy on localhost, which in WSL is not Windows", name=local[0].name),
        say("A proxy that runs in Windows is not reached under that name, unless networking is mirrored."),
        evidence=tuple(f"variables.{each.name}" for each in local),
        fixes=(
            in_windows(
                say(
                    "In .wslconfig in your Windows home folder, set networkingMode=mirrored in the section [wsl2], "
                    "then restart WSL."
                ),
                ("wsl", "--shutdown"),
                page=_CONFIG,
            ),
            Fix(
                summary=say("Or take the variables out."),
                commands=tuple(unset_variable(machine, each.name) for each in local),
            ),
        ),
    )


def _host_of(url: str) -> str:
    address = url.rpartition("://")[2].rpartition("@")[2].partition("/")[0]
    return address if address.startswith("[") and address.endswith("]") else address.rpartition(":")[0] or address


@rule(
    "WSL011",
    "wsl-windows-drive-nearly-full",
    "note",
    certainty="likely",
    needs=("system.wsl", "system.wsl.drive_free_bytes"),
    sources=("https://learn.microsoft.com/windows/wsl/disk-space",),
)
def windows_drive_is_nearly_full(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The drive of Windows that usually holds WSL's virtual disk is nearly full.

    WSL shows up to a terabyte of free space, whatever Windows has left. When the drive is full, WSL stops.

    Check: `df -h /mnt/c`.
    The virtual disk may lie on another drive, which is not visible from here. Silent from 20 GB on (a threshold of
    ours).
    """
    wsl = _wsl2(machine)
    if wsl is None or wsl.drive_free_bytes is None or wsl.drive_free_bytes >= _SMALL_DRIVE:
        return
    yield found(
        say(
            "Drive C of Windows has {drive_free_bytes:.1f} GB free, whatever WSL shows",
            drive_free_bytes=wsl.drive_free_bytes / 10**9,
        ),
        say("The virtual disk grows there, unless it was moved. An installation that fills it stops WSL."),
        evidence=("system.wsl.drive_free_bytes",),
        fixes=(in_windows(say("Make room on the drive, or move the distribution to another one.")),),
    )


@rule(
    "WSL012",
    "wslconfig-ignored",
    "warning",
    needs=("system.wsl", "system.wsl.settings"),
    sources=(_CONFIG,),
)
def wslconfig_is_not_understood(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """WSL does not understand lines of .wslconfig, and ignores them without a word.

    A limit without a unit, a setting outside of its section, or a path with single backslashes does not count.

    Check: `free -h` after `wsl --shutdown` shows the limit that you set.
    Unknown names are not reported: each release of WSL brings new ones.
    """
    wsl = _wsl2(machine)
    if wsl is None or not wsl.settings_faults:
        return
    yield found(
        say(
            "WSL ignores this in .wslconfig: {settings_faults}",
            settings_faults=listed(f"“{line}”" for line in wsl.settings_faults[:3]),
        ),
        say("Sizes need a unit (8GB), settings a section above them ([wsl2]), and backslashes in paths are doubled."),
        evidence=("system.wsl.settings_faults",),
        fixes=(in_windows(say("Correct the file, then restart WSL."), ("wsl", "--shutdown"), page=_CONFIG),),
    )
