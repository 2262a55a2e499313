"""What was recorded answers again as the machine did, and names nobody."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from envdoctor import errors
from envdoctor.host import Completed, ElfFacts, Host, NvmlAnswer, NvmlGpu, Space
from envdoctor.host.local import LocalHost
from envdoctor.host.recorded import RecordedHost, Recording
from envdoctor.host.recorder import Recorder, load_recording, redactor_of, write_recording
from envdoctor.model.snapshot import Snapshot, merge
from envdoctor.probes import Place, cpu, disks, memory, system, variables

PROBES = (system.PROBE, cpu.PROBE, memory.PROBE, disks.PROBE, variables.PROBE)


def examined(host: Host, place: Place | None = None) -> Snapshot:
    return merge(tuple(probe.read(host, place) for probe in PROBES))


def place(prefix: str) -> Place:
    return Place(
        executable=f"{prefix}/bin/python",
        prefix=prefix,
        base_prefix="/usr",
        version="3.12.4",
        manager="venv",
        selected_by="VIRTUAL_ENV",
    )


def replayed(recorder: Recorder, folder: Path) -> RecordedHost:
    return RecordedHost(load_recording(write_recording(recorder.recording(), str(folder))))


class _Steady(LocalHost):
    """This machine, held still: what changes while the test runs is answered once."""

    def __init__(self, environ: dict[str, str]) -> None:
        super().__init__(environ=environ)
        self._read: dict[str, bytes] = {}
        self._spaces: dict[str, Space] = {}

    def read(self, path: str, limit: int = 1 << 20) -> bytes:
        if path not in self._read:
            self._read[path] = super().read(path, limit)
        return self._read[path][:limit]

    def space(self, path: str) -> Space:
        if path not in self._spaces:
            self._spaces[path] = super().space(path)
        return self._spaces[path]


def test_this_machine_is_the_same_when_it_is_replayed(tmp_path: Path) -> None:
    host = _Steady(dict(os.environ))
    recorder = Recorder(host)
    live = examined(recorder)
    assert live.system is not None
    assert live.memory is not None
    assert examined(replayed(recorder, tmp_path)) == redactor_of(host).redact(live)


def test_a_person_is_hidden_and_the_facts_stay_the_same(tmp_path: Path) -> None:
    home = tmp_path / "home" / "annabella"
    (home / ".cache" / "pip").mkdir(parents=True)
    (home / "envs" / "torch").mkdir(parents=True)
    host = _Steady(
        {
            "HOME": str(home),
            "USER": "annabella",
            "LD_LIBRARY_PATH": f"{home}/lib:/scratch/annabella/lib",
            "PIP_INDEX_URL": "https://annabella:s3cret@10.1.2.3:8080/simple",
            "HF_TOKEN": "hf_abcdefghijklmnopqrstuvwxyz",
            "EDITOR": "vi",
            "CUDA_VISIBLE_DEVICES": "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6",
        }
    )
    recorder = Recorder(host)
    live = examined(recorder, place(f"{home}/envs/torch"))
    path = write_recording(recorder.recording(), str(tmp_path / "out"))
    written = Path(path).read_text()
    for secret in ("annabella", "s3cret", "10.1.2.3", "hf_abc", "8932f937", "EDITOR", "HF_TOKEN"):
        assert secret not in written
    redactor = redactor_of(host)
    hidden_home = redactor.text(str(home))
    again = examined(RecordedHost(load_recording(path)), place(f"{hidden_home}/envs/torch"))
    assert again == redactor.redact(live)
    assert again.disks[0].path == f"{hidden_home}/envs/torch"
    assert again.variable("LD_LIBRARY_PATH") == f"{hidden_home}/lib:/scratch/userxxxxx/lib"
    assert again.variable("CUDA_VISIBLE_DEVICES") == "GPU-00000001-0000-0000-0000-000000000000"


def test_root_keeps_its_home_and_words_stay_whole() -> None:
    recorder = Recorder(
        RecordedHost(Recording(environ={"HOME": "/root", "USER": "root"}, files={"/root/root": "root"}))
    )
    assert recorder.environ["HOME"] == "/root"
    assert recorder.read("/root/root") == b"root"
    recording = recorder.recording()
    assert (recording.environ, recording.files) == ({"HOME": "/root"}, {"/root/root": "root"})


ORIGINAL = Recording(
    environ={"HOME": "/home/annabella", "USER": "annabella", "PATH": "/bin"},
    release="6.1.0",
    libc=("glibc", "2.36"),
    affinity=7,
    files={"/usr/lib/a.txt": "a", "/usr/lib/long": "0123456789", "/proc/self/x": "x", "/usr/lib/t": ""},
    binaries={"/etc/ld.so.cache": b"\0\1/home/annabella/lib/libcuda.so.1\0\xff"},
    links={"/lib": "/usr/lib", "/usr/lib/libcuda.so.1": "/home/annabella/lib/libcuda.so.535.183.01"},
    devices=("/dev/dxg",),
    others=("/run/docker.sock",),
    folders=("/empty",),
    executables=("/usr/bin/nvcc",),
    errors={
        "/etc/shut": "denied",
        "/hid": "hidden",
        "/slow": "timeout",
        "/sys/broken": "ENODEV",
        "/mnt/gone": "missing",
    },
    spaces={"/mnt": Space(total_bytes=9, free_bytes=8, device=7)},
    commands={"/home/annabella/py -c import os": Completed(returncode=0, stdout="/home/annabella\n", stderr="")},
    command_errors={"/usr/bin/hang": "timeout"},
    nvml=NvmlAnswer(
        status=0,
        library="/home/annabella/lib/libnvidia-ml.so.1",
        driver="535.183.01",
        gpus=(NvmlGpu(index=0, uuid="GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", bus_id="0000:01:00.0"),),
    ),
    elfs={"/home/annabella/lib/libcuda.so.535.183.01": ElfFacts(soname="libcuda.so.1", runpath="/home/annabella/x")},
)


def outcome(question: object) -> object:
    assert callable(question)
    try:
        return question()
    except (OSError, ValueError) as problem:
        return type(problem).__name__, getattr(problem, "errno", None)


def questions(host: Host, home: str) -> list[object]:
    """Ask everything that can be asked, of what is there and of what is not."""
    paths = ("/lib/a.txt", "/usr/lib/t", "/proc/self/x", "/none", "/empty", "/etc/ld.so.cache")
    closed = ("/etc/shut", "/hid", "/hid/below", "/slow", "/sys/broken")
    asked: list[object] = [outcome(lambda p=p: host.read(p)) for p in (*paths, *closed)]
    seen = ("/lib/a.txt", "/dev/dxg", "/run/docker.sock", "/empty", "/etc/shut", "/hid", "/none", "/usr/bin/nvcc")
    asked += [outcome(lambda p=p: host.kind(p)) for p in seen]
    asked += [outcome(lambda p=p: host.list(p)) for p in ("/lib", "/empty", "/none", "/hid")]
    asked += [host.realpath(p) for p in ("/lib/a.txt", "/lib/libcuda.so.1", "/lib/none")]
    asked += [host.executable("/usr/bin/nvcc"), host.executable("/lib/a.txt")]
    asked += [outcome(lambda p=p: host.space(p)) for p in ("/mnt/x", "/mnt/gone", "/none")]
    programs = ((f"{home}/py", "-c", "import os"), ("/usr/bin/hang",), ("/usr/bin/none",))
    asked += [outcome(lambda a=a: host.run(a, 1)) for a in programs]
    asked += [host.nvml(1), host.affinity(), host.uname(), host.libc(), host.resources(), host.environ.get("NONE")]
    libraries = ("/lib/libcuda.so.1", "/lib/t", "/none")
    return [*asked, *(outcome(lambda p=p: host.elf(p)) for p in libraries)]


def test_every_kind_of_answer_is_given_again(tmp_path: Path) -> None:
    recorder = Recorder(RecordedHost(ORIGINAL))
    live = questions(recorder, "/home/annabella")
    path = write_recording(recorder.recording(), str(tmp_path))
    assert "annabella" not in Path(path).read_text()
    again = questions(RecordedHost(load_recording(str(tmp_path))), "/home/userxxxxx")
    hidden = [repr(each).replace("annabella", "userxxxxx").replace("8932f937-d72c-4106-c12f", "UUID") for each in live]
    for before, after in zip(hidden, again, strict=True):
        assert repr(after).replace("00000001-0000-0000-0000-000000000000", "UUID-20bd9faed9f6") == before


def test_the_longest_read_is_kept() -> None:
    recorder = Recorder(RecordedHost(ORIGINAL))
    recorder.read("/lib/long", 4)
    recorder.read("/usr/lib/long", 6)
    recorder.read("/lib/long", 2)
    assert recorder.recording().files == {"/usr/lib/long": "012345"}


def test_only_variables_that_were_looked_at_are_kept() -> None:
    recorder = Recorder(RecordedHost(ORIGINAL))
    assert sorted(recorder.environ) == ["HOME", "PATH", "USER"]
    assert {**recorder.environ} == ORIGINAL.environ  # a copy for a program
    assert recorder.recording().environ == {}
    assert "PATH" in recorder.environ
    assert recorder.environ.get("NONE") is None
    assert recorder.recording().environ == {"PATH": "/bin"}


def test_patience_is_that_of_the_host() -> None:
    host = RecordedHost(Recording())
    recorder = Recorder(host)
    recorder.patience = 3.5
    assert (host.patience, recorder.patience) == (3.5, 3.5)


def test_a_recording_is_never_written_over(tmp_path: Path) -> None:
    path = write_recording(ORIGINAL, str(tmp_path / "new" / "folder"))
    assert path == str(tmp_path / "new" / "folder" / "machine.json")
    assert load_recording(path) == load_recording(str(tmp_path / "new" / "folder")) == ORIGINAL
    before = Path(path).read_bytes()
    with pytest.raises(errors.Unreadable, match=r"already holds a machine\.json"):
        write_recording(Recording(), str(tmp_path / "new" / "folder"))
    assert Path(path).read_bytes() == before
    assert os.listdir(tmp_path / "new" / "folder") == ["machine.json"]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.Unreadable) as caught:
        write_recording(Recording(), str(tmp_path / "file" / "below"))
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is not a recording"),
        (b"\0" * 1000, "is not a recording"),
        (b"\xff\xfe{}", "is not a recording"),
        (b"[]", "is not a recording"),
        (b"{}", "is empty"),
        (b'{"schema_version": 1, "system": {}}', "'schema_version'"),
        (b'{"files": {"/a": 1}}', "is not a recording"),
        (b'{"files": {"a": "1"}}', "not an absolute path"),
        (b'{"binaries": {"/a": "%%%"}}', "is not a recording"),
        (b"[" * 100_000, "is not a recording"),
    ],
)
def test_what_is_no_recording_is_refused_in_one_line(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "machine.json").write_bytes(content)
    with pytest.raises(errors.Unreadable) as caught:
        load_recording(str(tmp_path))
    assert says in caught.value.message
    assert "\n" not in caught.value.message


def test_no_recording_at_all(tmp_path: Path) -> None:
    with pytest.raises(errors.Unreadable, match="there is no recording"):
        load_recording(str(tmp_path))
    with pytest.raises(errors.Unreadable, match="there is no recording"):
        load_recording(str(tmp_path / "none.json"))


def test_of_a_distribution_the_headers_are_kept_and_not_its_description(tmp_path: Path) -> None:
    path = "/e/lib/python3.12/site-packages/torch-2.8.0.dist-info/METADATA"
    headers = "Metadata-Version: 2.1\nName: torch\nRequires-Dist: numpy\n"
    other = "/e/lib/python3.12/site-packages/torch/version.py"
    recorder = Recorder(RecordedHost(Recording(files={path: headers + "\n# Tensors\n", other: "a = 1\n\nb = 2\n"})))
    recorder.read(path)
    recorder.read(other)
    host = replayed(recorder, tmp_path)
    assert (host.read(path).decode(), host.read(other).decode()) == (headers, "a = 1\n\nb = 2\n")
