"""`run` in a process of its own: programs that really die, each in another way, and what is said of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = os.name == "posix" and os.geteuid() == 0
RUN = (sys.executable, "-m", "envdoctor", "run")
MIB = 1 << 20
# It can never take more than 400 MiB, also where no limit holds it.
GREEDY = "import time\nheld = []\nfor _ in range(50):\n    held.append(b'1' * (8 << 20))\n    time.sleep(0.02)\n"
UNMAPPED = """
import mmap, os, sys
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
os.ftruncate(file, 8 << 20)
pages = mmap.mmap(file, 8 << 20)
for page in range(0, 8 << 20, 4096):
    pages[page] = 1
"""


def run(
    *argv: str, cwd: Path, before: tuple[str, ...] = ()
) -> tuple[subprocess.CompletedProcess[str], dict[str, object]]:
    """Run a program under watch, and give what was printed and the report."""
    report = cwd / "run.json"
    done = subprocess.run(
        [*before, *RUN, "--interval", "0.1", "--report", str(report), "--", *argv],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=120,
    )
    return done, json.loads(report.read_text()) if report.exists() else {}


def codes(report: dict[str, object]) -> list[str]:
    findings = report["findings"]
    assert isinstance(findings, list)
    return [each["id"] for each in findings]


def python(code: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code, *arguments)


def test_output_status_and_input_pass_through(tmp_path: Path) -> None:
    code = "import sys; print(sys.stdin.read().upper()); print('\\x1b[31mred', file=sys.stderr); sys.exit(7)"
    done = subprocess.run([*RUN, "--", *python(code)], input="abc", capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (7, "ABC\n")
    assert done.stderr.startswith("\x1b[31mred\nenvdoctor: ")
    assert "ended with status 7" in done.stderr


def test_a_program_that_ends_well_gets_one_line(tmp_path: Path) -> None:
    done, report = run(*python("held = b'1' * (100 << 20); print(len(held))"), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"{100 * MIB}\n")
    assert done.stderr.count("\n") == 1
    assert report["findings"] == []
    ran = report["run"]
    assert isinstance(ran, dict)
    assert 100 * MIB < ran["peak_bytes"] < 200 * MIB


@pytest.mark.parametrize(
    ("code", "status", "found"),
    [
        ("bytearray(1 << 60)", 1, "MSG801"),
        ("import faulthandler; faulthandler._sigsegv()", 139, "MSG806"),
        ("raise OSError(28, 'No space left on device')", 1, "MSG713"),
        (
            (
                "raise RuntimeError('DataLoader worker (pid 42) is killed by signal: Bus error. It is possible that "
                "dataloader\\'s workers are out of shared memory. Please try to raise your shared memory limit.')"
            ),
            1,
            "MSG804",
        ),
        (
            (
                "raise RuntimeError('[Rank 0] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=7, "
                "OpType=ALLREDUCE, Timeout(ms)=600000) ran for 600123 milliseconds before timing out.')"
            ),
            1,
            "MSG808",
        ),
    ],
)
def test_an_end_is_explained(code: str, status: int, found: str, tmp_path: Path) -> None:
    done, report = run(*python(code), cwd=tmp_path)
    assert (done.returncode, codes(report)) == (status, [found])
    assert f"error[{found}]" in done.stderr


@pytest.mark.parametrize(
    ("message", "found", "figure"),
    [
        (
            (
                "CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0; 7.93 GiB total capacity; 6.90 GiB already "
                "allocated; 13.06 MiB free; 7.10 GiB reserved in total by PyTorch)"
            ),
            "MSG802",
            "6.9 GiB in tensors of this process",
        ),
        (
            (
                "CUDA out of memory. Tried to allocate 1.00 GiB (GPU 0; 10.92 GiB total capacity; 6.00 GiB already "
                "allocated; 20.00 MiB free; 4.50 GiB cached)"
            ),
            "MSG805",
            "4.5 GiB reserved by its allocator and unused",
        ),
        (
            (
                "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacty of 23.69 GiB of which 5.56 "
                "MiB is free. Process 4711 has 18.00 GiB memory in use. Including non-PyTorch memory, this process has "
                "5.60 GiB memory in use. Of the allocated memory 5.10 GiB is allocated by PyTorch, and 1.02 MiB is "
                "reserved by PyTorch but unallocated."
            ),
            "MSG803",
            "held by other processes",
        ),
        (
            (
                "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 23.69 GiB of which "
                "105.56 MiB is free. Including non-PyTorch memory, this process has 23.50 GiB memory in use. Of "
                "the allocated memory 18.00 GiB is allocated by PyTorch, and 5.00 GiB is reserved by PyTorch but "
                "unallocated."
            ),
            "MSG805",
            "5 GiB reserved by its allocator and unused",
        ),
    ],
    ids=["1.4", "1.0-fragmented", "2.1-others", "2.2-fragmented"],
)
def test_the_allocators_message_of_every_era_is_read(message: str, found: str, figure: str, tmp_path: Path) -> None:
    done, report = run(*python(f"raise RuntimeError({message!r})"), cwd=tmp_path)
    assert codes(report) == [found]
    findings = report["findings"]
    assert isinstance(findings, list)
    assert figure in findings[0]["detail"]
    assert done.returncode == 1


@pytest.mark.compiler
@pytest.mark.parametrize(
    ("source", "name", "status", "found"),
    [
        ('int main(void) { __asm__("ud2"); return 0; }', None, 132, {"MSG807", "MSG610"}),
        ("int main(void) { return absent(); }", "libabsent.so.3", 127, {"MSG809"}),
    ],
    ids=["illegal instruction", "missing library"],
)
def test_a_compiled_program_that_dies_is_explained(
    source: str, name: str | None, status: int, found: set[str], tmp_path: Path
) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler is on PATH")
    linked: list[str] = []
    if name:
        (tmp_path / "library.c").write_text("int absent(void) { return 1; }")
        command = [compiler, "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", name, "library.c"]
        subprocess.run(command, check=True, cwd=tmp_path)
        source, linked = f"int absent(void);\n{source}", [f"./{name}"]
    (tmp_path / "main.c").write_text(source)
    subprocess.run([compiler, "main.c", *linked, "-o", "main"], check=True, cwd=tmp_path)
    if name:
        (tmp_path / name).unlink()
    done, report = run("./main", cwd=tmp_path)
    assert done.returncode == status
    said = codes(report)
    assert len(said) == 1 and set(said) <= found
    assert name is None or f"The library {name} is missing" in done.stderr


@pytest.mark.privileged
@pytest.mark.skipif(not ROOT or not shutil.which("unshare"), reason="mounting a small /dev/shm needs root")
def test_a_real_bus_error_of_shared_memory_is_explained(tmp_path: Path) -> None:
    """A namespace of its own, so that nobody else's /dev/shm becomes small."""
    mounted = 'mount -t tmpfs -o size=1m tmpfs /dev/shm && exec "$@"'
    done, report = run(
        *python(UNMAPPED, "/dev/shm/torch_demo"), cwd=tmp_path, before=("unshare", "-m", "sh", "-c", mounted, "sh")
    )
    assert (done.returncode, codes(report)) == (135, ["MSG804"])
    ran = report["run"]
    assert isinstance(ran, dict)
    assert ran["signal"] == "SIGBUS"
    assert {"path": "/dev/shm", "total_bytes": MIB, "least_free_bytes": 0} in ran["rooms"]


@pytest.fixture
def small_group() -> Iterator[Path]:
    """Make a cgroup with 150 MiB below that of this process (version 1), or below the top (version 2)."""
    own = Path("/proc/self/cgroup").read_text().splitlines()
    memory = next((line.split(":", 2)[2] for line in own if ":memory:" in line), None)
    if memory is not None:
        folder, limit = Path(f"/sys/fs/cgroup/memory{memory}"), "memory.limit_in_bytes"
    else:
        folder, limit = Path("/sys/fs/cgroup"), "memory.max"
    group = folder / f"envdoctor-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as problem:
        pytest.skip(f"no cgroup can be made here: {problem}")
    try:
        try:
            (group / limit).write_text(str(150 * MIB))
        except OSError as problem:
            pytest.skip(f"no limit can be set in a cgroup here: {problem}")
        yield group
    finally:
        for _ in range(100):
            try:
                group.rmdir()
                break
            except OSError:
                time.sleep(0.05)  # the last process is still on its way out


@pytest.mark.privileged
@pytest.mark.skipif(not ROOT, reason="making a cgroup needs root")
@pytest.mark.parametrize("joins", ["watcher too", "program alone"])
def test_a_real_kill_by_the_kernel_is_explained(joins: str, small_group: Path, tmp_path: Path) -> None:
    join = ("sh", "-c", f'echo $$ > "{small_group}/cgroup.procs" && exec "$@"', "sh")
    if joins == "watcher too":  # as in a container, where both share the limit
        done, report = run(*python(GREEDY), cwd=tmp_path, before=join)
    else:
        done, report = run(*join, *python("import time; time.sleep(0.5)\n" + GREEDY), cwd=tmp_path)
    assert (done.returncode, codes(report)) == (137, ["MSG801"])
    ran = report["run"]
    assert isinstance(ran, dict)
    assert (ran["signal"], ran["oom_kills"], ran["group_limit_bytes"]) == ("SIGKILL", 1, 150 * MIB)


def test_a_kill_that_the_kernel_did_not_count_is_no_lack_of_memory(tmp_path: Path) -> None:
    for _ in range(5):  # the kernel may end something else in this very moment, which the machine's count tells too
        (tmp_path / "run.json").unlink(missing_ok=True)
        done, report = run(*python("import os; os.kill(os.getpid(), 9)"), cwd=tmp_path)
        ran = report["run"]
        assert isinstance(ran, dict)
        if not ran["oom_kills"] and not ran["machine_oom_kills"]:
            break
    assert (done.returncode, codes(report)) == (137, [])
    assert "Somebody or something else killed it" in done.stderr


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 3), (signal.SIGTERM, 143)])
def test_signals_reach_the_program_once(number: int, status: int, tmp_path: Path) -> None:
    code = (
        "import signal, sys, time\n"
        "seen = []\n"
        "signal.signal(signal.SIGINT, lambda *_: seen.append(1))\n"
        "print('ready', flush=True)\n"
        "while not seen: time.sleep(0.01)\n"
        "time.sleep(0.3)\n"
        "sys.exit(2 + len(seen))\n"
    )
    with subprocess.Popen([*RUN, "--", *python(code)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        process.communicate(timeout=60)
    assert process.returncode == status


def test_nothing_of_the_program_is_left_behind(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(1.0)\n"
    )
    done, _ = run(*python(code), cwd=tmp_path)
    pid = int(done.stdout)
    state = Path(f"/proc/{pid}/stat")
    assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_terminal_stays_a_terminal(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    try:
        argv = [*RUN, "--", *python("import sys; print(sys.stdout.isatty(), sys.stderr.isatty())")]
        done = subprocess.run(argv, stdout=theirs, stderr=subprocess.PIPE, timeout=60)
        assert done.returncode == 0
        assert os.read(ours, 100) == b"True False\r\n"
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (("--", "no-such-program-here"), 127, "there is no program no-such-program-here"),
        (("--", "/etc/passwd"), 126, "/etc/passwd cannot be started"),
        ((), 2, "COMMAND"),
        (("--report", "/no/such/folder/x.json", "--", "true"), 3, "no file can be written in /no/such/folder"),
        (("--report", "/etc/passwd", "--", "true"), 3, "/etc/passwd exists"),
    ],
)
def test_what_cannot_be_started_is_said_in_a_line(options: tuple[str, ...], status: int, words: str) -> None:
    done = subprocess.run([*RUN, *options], capture_output=True, text=True, timeout=60)
    assert done.returncode == status
    assert words in done.stderr
    assert "Traceback" not in done.stderr
