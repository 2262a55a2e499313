"""How programs end that get no chance to explain themselves: signals, the loader, and NCCL's last words."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import message, say
from envdoctor.rules.messages.missing import LIBRARY
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.told import Said, said

_FAULTHANDLER = "https://docs.python.org/3/library/faulthandler.html"
_NCCL = "https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/troubleshooting.html"
# The newest first is what Python prints; the words of the standard library's own frames say less than the caller's.
_FRAME = r'most recent call first\):?\s*\n\s*File "([^"\n]{1,300})", line (\d+) in (\S{1,80})'
_LIBRARY = (
    r"segfault at [^\n]{0,120} in ([\w.+-]{1,120}\.so[\w.]*)\[",
    r'Binary file "([^"\n]{1,300}\.so[\w.]*)"',
    r"#0 [^\n]{0,200}(?:from|in) (\S{1,200}\.so[\w.]*)",
)


def _where(machine: Snapshot) -> str:
    """Say in which library and in which line of Python it happened, as far as anybody told."""
    library, frame = said(machine, *_LIBRARY), said(machine, _FRAME)
    parts = []
    if library:
        parts.append(say("It happened in {library}.", library=library.group(1).rpartition("/")[2]))
    if frame:
        parts.append(
            say(
                "Python was in {function}, line {line} of {file}.",
                function=frame.group(3),
                line=frame.group(2),
                file=frame.group(1),
            )
        )
    return " ".join(parts)


@rule(
    "MSG806",
    "crashed-in-compiled-code",
    "error",
    needs=("problems",),
    sources=(_FAULTHANDLER,),
)
def segfault(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The program crashed inside compiled code, on memory that is not its own (SIGSEGV).

    Python itself hardly ever does; extensions do: one built for another version of torch or numpy, two copies of the
    same library in one process, or an index out of range in code of one's own.

    Check: `python -X faulthandler train.py` prints where Python was; the kernel's log (`dmesg`) names the library.
    """
    line = said(
        machine,
        r"(?m)^(?:[^\n]{0,80}\s)?Segmentation fault(?: \(core dumped\))?\s*$",
        r"Fatal Python error: Segmentation fault",
        r"\]: segfault at [0-9a-f]+ ip",
    )
    if line is None:
        return
    yield found(
        say("The program crashed inside compiled code (segmentation fault)"),
        _where(machine) or say("Nobody told in which library; `python -X faulthandler` tells where Python was."),
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary=say(
                    "Install the package that owns that library again, in the build for this torch and numpy; "
                    "`envdoctor diagnose` finds builds that do not belong together and libraries that are there twice."
                ),
                commands=(("envdoctor", "diagnose"),),
            ),
        ),
    )


@rule(
    "MSG807",
    "instruction-unsupported",
    "error",
    certainty="likely",
    needs=("problems", "cpu.features"),
    sources=("https://man7.org/linux/man-pages/man7/signal.7.html",),
)
def unknown_instruction(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The program used an instruction that this processor does not have, although it has AVX2 (SIGILL).

    A package that was compiled on one machine with -march=native uses what that one has, often AVX-512. Code that was
    stopped on purpose (`__builtin_trap`, a failed check of a compiler) ends in the same way.

    Check: `grep -o -w -m1 avx512f /proc/cpuinfo`, and which package was built here or copied from elsewhere.
    A processor without AVX2 has a rule of its own.
    """
    features = machine.cpu.features if machine.cpu else None
    line = said(machine, r"(?i)illegal instruction|trap invalid opcode")
    if line is None or features is None or "avx2" not in features:
        return
    has = (
        say("The processor has AVX2 and AVX-512 too.")
        if "avx512f" in features
        else say("The processor has AVX2 and no AVX-512.")
    )
    yield found(
        say("The program used an instruction that this processor does not have"),
        " ".join(filter(None, (has, _where(machine)))),
        evidence=(line.evidence, "cpu.features"),
        fixes=(
            Fix(
                summary=say(
                    "Take the published wheel of that package, or build it on this machine without -march=native of "
                    "another one."
                ),
                effect="changes-env",
            ),
        ),
    )


@rule(
    "MSG808",
    "nccl-failed",
    "error",
    needs=("problems",),
    sources=(_NCCL,),
)
def nccl(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The processes of a distributed run could not talk to each other through NCCL.

    A timeout most often means that another process died or never came to the same step: its own words are the cause.
    An unhandled system error is a network or shared memory that NCCL cannot use; an unhandled CUDA error came from the
    GPU; a version mismatch means that the processes load different releases.

    Check: the same run with NCCL_DEBUG=INFO; the first process that fails tells most.
    """
    for pattern, title, detail, fix, certainty in _NCCL_WORDS:
        line = said(machine, pattern)
        if line is not None:
            yield found(
                say(title),
                say(detail),
                evidence=(line.evidence,),
                certainty="likely" if certainty else None,
                fixes=(replace(fix, summary=say(fix.summary)),),
            )
            return


_DEBUG = ("export", "NCCL_DEBUG=INFO")
_NCCL_WORDS: tuple[tuple[str, str, str, Fix, bool], ...] = (
    (
        r"(?i)mismatched NCCL version|NCCL version mismatch|ncclInvalidUsage[^\n]{0,200}version",
        message("The processes load different releases of NCCL"),
        message("All of them must use the same; torch brings one of its own as a wheel."),
        Fix(
            summary=message("Take the same environment on every machine, and no LD_LIBRARY_PATH with another libnccl.")
        ),
        False,
    ),
    (
        (
            r"(?i)Watchdog caught collective operation timeout|Some NCCL operations have failed or timed out"
            r"|NCCL (?:operation|communicator)[^\n]{0,80}timed? ?out"
        ),
        message("A process waited for the others in NCCL until its time was up"),
        message("Another process most likely died, or does other steps than this one; that one's words are the cause."),
        Fix(
            summary=message("Look at the output of the other ranks first, then with NCCL's own log."),
            commands=(_DEBUG,),
        ),
        True,
    ),
    (
        r"(?i)unhandled system error|ncclSystemError",
        message("NCCL cannot use the network or the shared memory of this machine"),
        message("A system call failed: no such network interface, a firewall, or too little /dev/shm."),
        Fix(
            summary=message(
                "Read NCCL's own log; name the interface (NCCL_SOCKET_IFNAME), and give a container --ipc=host."
            ),
            commands=(_DEBUG,),
            page=_NCCL,
        ),
        False,
    ),
    (
        r"(?i)unhandled cuda error|ncclUnhandledCudaError",
        message("A CUDA call inside NCCL failed"),
        message("Most often two processes share a GPU, memory was full, or peer-to-peer access is broken."),
        Fix(summary=message("Read NCCL's own log, and give each process its own GPU."), commands=(_DEBUG,), page=_NCCL),
        True,
    ),
    (
        r"(?i)ncclRemoteError|remote process exited or there was a network error",
        message("Another process of the run ended while NCCL waited for it"),
        message("That one's last words are the cause; this process only noticed."),
        Fix(summary=message("Look at the output of the other ranks.")),
        False,
    ),
)


@rule(
    "MSG809",
    "library-missing",
    "error",
    needs=("problems",),
    sources=("https://man7.org/linux/man-pages/man8/ld.so.8.html",),
)
def missing(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A shared library that the program needs is not installed, or not where the loader looks.

    The loader looks into the folders of the library's own RUNPATH, LD_LIBRARY_PATH, and the system's. Small container
    images lack libraries that desktops have, such as libGL, libgomp or libX11.

    Check: `ldd PROGRAM | grep 'not found'`, `ldconfig -p`.
    Libraries of CUDA, cuDNN, torch and the driver have rules of their own.
    """
    line = _missing(machine)
    if line is None:
        return
    name = line.group(1)
    packages = {"libGL": "libgl1", "libgomp": "libgomp1", "libglib-2": "libglib2.0-0", "libsndfile": "libsndfile1"}
    package = next((each for stem, each in packages.items() if name.startswith(f"{stem}.")), None)
    yield found(
        say("The library {name} is missing", name=name),
        say("The loader did not find it in any of its folders."),
        evidence=(line.evidence,),
        fixes=(
            Fix(summary=say("Install it."), commands=(("apt-get", "install", package),), effect="needs-root")
            if package
            else Fix(
                summary=say(
                    "Install the package that has it (`apt-file search`, `dnf provides`, or conda-forge), or name its "
                    "folder in LD_LIBRARY_PATH."
                ),
            ),
        ),
    )


def _missing(machine: Snapshot) -> Said | None:
    own = rf"(?!lib(?:{LIBRARY[3:-1]}|cuda|nvidia|cudnn|torch|c10|nvcuvid|tpu)[\w-]*\.)"
    return said(
        machine,
        rf"(?:\A|[\s:'\"]){own}(lib[\w.+-]{{1,80}}\.so[\w.]*): cannot open shared object file",
    )
