import os
import shutil
import subprocess
from pathlib import Path

import pytest

from envdoctor.host import ElfFacts
from envdoctor.host.local import LocalHost
from envdoctor.host.recorded import RecordedHost, Recording
from envdoctor.model.snapshot import Library, Snapshot
from envdoctor.probes import Place, libraries

SITE = "/w/env/lib/python3.12/site-packages"
SYSTEM = "/usr/lib/x86_64-linux-gnu"


def header(version: str) -> str:
    parts = zip(("MAJOR", "MINOR", "PATCHLEVEL"), version.split("."), strict=True)
    return "".join(f"#define CUDNN_{name} {part}\n" for name, part in parts)


def wheel(name: str, *files: str) -> dict[str, str]:
    return {f"{SITE}/{name}.dist-info/METADATA": "", **{f"{SITE}/nvidia/{file}": "" for file in files}}


def place(prefix: str = "/w/env", manager: str = "venv", site: str = SITE) -> Place:
    return Place(
        executable=f"{prefix}/bin/python",
        prefix=prefix,
        base_prefix="/usr",
        version="3.12.4",
        manager=manager,
        selected_by="PATH",
        site_dirs=(site,),
    )


def read(where: Place | None = None, **recorded: object) -> Snapshot:
    recording = Recording(**{"folders": (SITE,), **recorded})  # type: ignore[arg-type]
    return libraries.read(RecordedHost(recording), where or place())


def shown(seen: Snapshot) -> list[tuple[str, str | None, str, str | None]]:
    return [(each.name, each.version, each.owner, each.package) for each in seen.libraries]


@pytest.mark.parametrize(
    ("told", "printed", "soname"),
    [
        ("8.9.7.29", "8.9.7", "libcudnn.so.8"),
        ("9.1.0.70", "9.1.0", "libcudnn.so.9"),
        ("9.10.2.21", "9.10.2", "libcudnn.so.9"),
        ("9.10.0.56", "9.10.0", "libcudnn.so.9"),
    ],
)
def test_a_wheels_cudnn_prints_with_the_right_digits(told: str, printed: str, soname: str) -> None:
    seen = read(files=wheel(f"nvidia_cudnn_cu12-{told}", f"cudnn/lib/{soname}", "cudnn/lib/libcudnn_ops.so.9"))

    assert seen.libraries == (
        Library(
            name="cudnn",
            path=f"{SITE}/nvidia/cudnn/lib/{soname}",
            version=printed,
            owner="pip",
            package="nvidia-cudnn-cu12",
        ),
    )


def test_the_runtime_wheels_are_listed_with_their_own_versions() -> None:
    files = {
        **wheel("nvidia_nccl_cu12-2.26.2", "nccl/lib/libnccl.so.2"),
        **wheel("nvidia_cuda_runtime_cu12-12.6.77", "cuda_runtime/lib/libcudart.so.12"),
        **wheel("nvidia_cuda_runtime_cu11-11.8.89", "cuda_runtime/lib/libcudart.so.11.0"),
        **wheel("nvidia_cublas_cu12-12.6.4.1", "cublas/lib/libcublas.so.12", "cublas/lib/libcublasLt.so.12"),
        **wheel("nvidia_cublas-13.0.0.19", "cu13/lib/libcublas.so.13"),
        **wheel("nvidia_nvjitlink_cu12-12.6.85", "nvjitlink/lib/libnvJitLink.so.12"),
        **wheel("nvidia_ml_py-12.535.0"),
    }

    assert set(shown(read(files=files))) == {
        ("nccl", "2.26.2", "pip", "nvidia-nccl-cu12"),
        ("cudart", "12.6.77", "pip", "nvidia-cuda-runtime-cu12"),
        ("cudart", "11.8.89", "pip", "nvidia-cuda-runtime-cu11"),
        ("cublas", "12.6.4.1", "pip", "nvidia-cublas-cu12"),
        ("cublas", "13.0.0.19", "pip", "nvidia-cublas"),
        ("nvjitlink", "12.6.85", "pip", "nvidia-nvjitlink-cu12"),
    }


def test_of_two_wheels_in_one_folder_the_header_tells_which_won() -> None:
    files = {
        **wheel("nvidia_cudnn_cu12-9.10.2.21", "cudnn/lib/libcudnn.so.9"),
        **wheel("nvidia_cudnn_cu13-9.13.0.50"),
        f"{SITE}/nvidia/cudnn/include/cudnn_version.h": header("9.13.0"),
    }
    without = {path: text for path, text in files.items() if not path.endswith(".h")}

    assert shown(read(files=files)) == [("cudnn", "9.13.0", "pip", "nvidia-cudnn-cu13")]
    assert shown(read(files=without)) == [("cudnn", None, "pip", None)]


def test_the_systems_cudnn_is_named_by_its_file_or_its_header() -> None:
    files = {
        f"{SYSTEM}/libcudnn.so.9.10.2": "",
        "/usr/local/cuda-11.8/lib64/libcudnn.so.8": "",
        "/usr/local/cuda-11.8/include/cudnn_version.h": header("8.9.7"),
    }
    links = {f"{SYSTEM}/libcudnn.so.9": "libcudnn.so.9.10.2", "/usr/local/cuda": "cuda-11.8"}

    assert [(each.path, each.version, each.owner) for each in read(files=files, links=links).libraries] == [
        (f"{SYSTEM}/libcudnn.so.9", "9.10.2", "system"),
        ("/usr/local/cuda-11.8/lib64/libcudnn.so.8", "8.9.7", "system"),
    ]


def test_a_header_of_another_major_version_is_not_believed() -> None:
    files = {"/opt/cuda/lib64/libcudnn.so.8": "", "/opt/cuda/include/cudnn_version.h": header("9.1.0")}

    assert shown(read(files=files)) == [("cudnn", None, "system", None)]


def test_conda_owns_what_lies_in_its_prefix() -> None:
    files = {
        "/c/conda-meta/cudnn-9.10.1.4-haad7af6_1.json": "{}",
        "/c/conda-meta/cuda-cudart-12.6.77-h5888daf_0.json": "{}",
        "/c/lib/libcudnn.so.9.10.1": "",
        "/c/lib/libcudart.so.12": "",
        "/c/lib/libc10.so": "",
    }
    seen = read(
        place("/c", "conda", "/c/lib/python3.12/site-packages"),
        files=files,
        links={"/c/lib/libcudnn.so.9": "libcudnn.so.9.10.1"},
    )

    assert set(shown(seen)) == {
        ("cudnn", "9.10.1", "conda", "cudnn"),
        ("cudart", "12.6.77", "conda", "cuda-cudart"),
    }


def test_torch_owns_what_its_old_wheels_carry() -> None:
    files = {f"{SITE}/torch/lib/libcudnn.so.8": "", f"{SITE}/torch/lib/libcudart-d0da41ae.so.11.0": ""}

    assert set(shown(read(files=files))) == {
        ("cudnn", None, "framework", "torch"),
        ("cudart", None, "framework", "torch"),
    }


def test_a_folder_that_may_not_be_read_makes_the_libraries_unknown() -> None:
    seen = read(
        files={f"{SYSTEM}/libcudnn.so.9.1.0": ""},
        links={f"{SYSTEM}/libcudnn.so.9": "libcudnn.so.9.1.0"},
        errors={f"{SITE}/nvidia": "denied"},
    )

    assert [(gap.fact, gap.kind) for gap in seen.gaps] == [("libraries", "denied")]
    assert shown(seen) == [("cudnn", "9.1.0", "system", None)]


ORIGINS = "$ORIGIN/../../nvidia/cudnn/lib:$ORIGIN/../../nvidia/cublas/lib:$ORIGIN"
CUDNN = f"{SITE}/nvidia/cudnn/lib/libcudnn.so.9"
CUBLAS = f"{SITE}/nvidia/cublas/lib/libcublas.so.12"
CUBLASLT = f"{SITE}/nvidia/cublas/lib/libcublasLt.so.12"
LOCAL = "/usr/local/cuda-12.1/lib64"


def overridden(
    torch: ElfFacts,
    *,
    cudnn: str = "9.1.0",
    system: str = "9.5.1",
    variable: str | None = f"{LOCAL}:",
    opened: bool = True,
) -> dict[str, str | None]:
    """Give path and shadowed path of everything that a toolkit in LD_LIBRARY_PATH replaces."""
    files = {
        **wheel(f"nvidia_cudnn_cu12-{cudnn}.70", "cudnn/lib/libcudnn.so.9"),
        **wheel("nvidia_cublas_cu12-12.4.5.8", "cublas/lib/libcublas.so.12", "cublas/lib/libcublasLt.so.12"),
        f"{LOCAL}/libcudnn.so.{system}": "",
        f"{LOCAL}/libcublas.so.12.4.5.8": "",
        f"{LOCAL}/libcublasLt.so.12.1.3.1": "",
    }
    names = {"libcudnn.so.9": f"libcudnn.so.{system}", "libcublas.so.12": "libcublas.so.12.4.5.8"}
    names["libcublasLt.so.12"] = "libcublasLt.so.12.1.3.1"
    elfs = {
        f"{SITE}/torch/lib/libtorch_cuda.so": torch,
        CUDNN: ElfFacts(runpath="$ORIGIN"),
        CUBLAS: ElfFacts(needed=("libcublasLt.so.12", "libc.so.6"), runpath="$ORIGIN"),
        CUBLASLT: ElfFacts(runpath="$ORIGIN"),
        **{f"{LOCAL}/{name}": ElfFacts() for name in names},
        **{f"{LOCAL}/{name}": ElfFacts() for name in names.values()},
    }
    seen = read(
        files=files,
        links={f"{LOCAL}/{name}": real for name, real in names.items()},
        environ={"LD_LIBRARY_PATH": variable} if variable else {},
        elfs=elfs if opened else {f"{SITE}/torch/lib/libtorch_cuda.so": torch},
    )
    assert [gap.fact for gap in seen.gaps] == ([] if opened else ["libraries.shadows"])
    replaced: dict[str, str | None] = {each.path: each.shadows for each in seen.libraries if each.shadows}
    assert set(replaced.values()) <= {each.path for each in seen.libraries if each.owner == "pip"}
    return replaced


NEEDS_CUDNN = ("libcudnn.so.9", "libc10.so")


def test_runpath_loses_to_the_variable() -> None:
    replaced = overridden(ElfFacts(needed=NEEDS_CUDNN, runpath=ORIGINS))

    assert replaced == {f"{LOCAL}/libcudnn.so.9": CUDNN}


def test_rpath_wins_against_the_variable() -> None:
    assert overridden(ElfFacts(needed=NEEDS_CUDNN, rpath=ORIGINS)) == {}


def test_rpath_counts_for_nothing_where_there_is_a_runpath() -> None:
    replaced = overridden(ElfFacts(needed=NEEDS_CUDNN, rpath=ORIGINS, runpath="/elsewhere"))

    assert replaced == {f"{LOCAL}/libcudnn.so.9": CUDNN}


def test_a_library_found_by_rpath_may_lose_its_own_needs_to_the_variable() -> None:
    replaced = overridden(ElfFacts(needed=("libcublas.so.12",), rpath=ORIGINS))

    assert replaced == {f"{LOCAL}/libcublasLt.so.12": CUBLASLT}


def test_what_torch_loaded_before_is_not_looked_for_again() -> None:
    assert overridden(ElfFacts(needed=("libcublasLt.so.12", "libcublas.so.12"), rpath=ORIGINS)) == {}


def test_the_same_version_is_harmless() -> None:
    assert overridden(ElfFacts(needed=NEEDS_CUDNN, runpath=ORIGINS), cudnn="9.5.1") == {}


def test_without_the_variable_nothing_is_opened() -> None:
    assert overridden(ElfFacts(needed=NEEDS_CUDNN, runpath=ORIGINS), variable=None) == {}
    assert overridden(ElfFacts(needed=NEEDS_CUDNN, runpath=ORIGINS), variable="/opt/empty") == {}


def test_a_library_that_cannot_be_opened_leaves_the_question_open() -> None:
    assert overridden(ElfFacts(needed=NEEDS_CUDNN, runpath=ORIGINS), opened=False) == {}


def test_cudnn_8_loses_its_parts_to_the_variable_even_behind_rpath() -> None:
    lib = f"{SITE}/nvidia/cudnn/lib"
    files = wheel("nvidia_cudnn_cu12-8.9.2.26", "cudnn/lib/libcudnn.so.8", "cudnn/lib/libcudnn_ops_infer.so.8")
    parts = {"libcudnn.so.8": "libcudnn.so.8.9.7", "libcudnn_ops_infer.so.8": "libcudnn_ops_infer.so.8.9.7"}
    elfs = {
        f"{SITE}/torch/lib/libtorch_cuda.so": ElfFacts(needed=("libcudnn.so.8",), rpath=ORIGINS),
        f"{lib}/libcudnn.so.8": ElfFacts(runpath="$ORIGIN"),
        f"{LOCAL}/libcudnn_ops_infer.so.8.9.7": ElfFacts(),
    }
    seen = read(
        files={**files, **{f"{LOCAL}/{real}": "" for real in parts.values()}},
        links={f"{LOCAL}/{name}": real for name, real in parts.items()},
        environ={"LD_LIBRARY_PATH": LOCAL},
        elfs=elfs,
    )

    assert [(each.path, each.shadows) for each in seen.libraries if each.shadows] == [
        (f"{LOCAL}/libcudnn_ops_infer.so.8", f"{lib}/libcudnn_ops_infer.so.8")
    ]


def test_tensorflow_and_jax_open_libraries_by_name() -> None:
    files = {**wheel("nvidia_cudnn_cu12-9.3.0.75", "cudnn/lib/libcudnn.so.9"), f"{LOCAL}/libcudnn.so.9.1.0": ""}

    def replaced(library: str, facts: ElfFacts) -> list[str | None]:
        seen = read(
            files=files,
            links={f"{LOCAL}/libcudnn.so.9": "libcudnn.so.9.1.0"},
            environ={"LD_LIBRARY_PATH": LOCAL},
            elfs={f"{SITE}/{library}": facts, CUDNN: ElfFacts(), f"{LOCAL}/libcudnn.so.9.1.0": ElfFacts()},
        )
        return [each.shadows for each in seen.libraries if each.path.startswith(LOCAL)]

    behind = ElfFacts(runpath="$ORIGIN/../nvidia/cudnn/lib")
    before = ElfFacts(rpath="$ORIGIN/../nvidia/cudnn/lib")
    assert replaced("tensorflow/libtensorflow_cc.so.2", behind) == [CUDNN]
    assert replaced("tensorflow/libtensorflow_cc.so.2", before) == [None]
    plugin = ElfFacts(runpath="$ORIGIN/../../nvidia/cudnn/lib")
    assert replaced("jax_plugins/xla_cuda12/xla_cuda_plugin.so", plugin) == [CUDNN]


@pytest.mark.compiler
@pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")
@pytest.mark.parametrize(("tags", "wins"), [("--enable-new-dtags", "variable"), ("--disable-new-dtags", "wheel")])
def test_the_answer_is_the_one_of_the_real_loader(tmp_path: Path, tags: str, wins: str) -> None:
    site = tmp_path / "site"
    lib, torch, other = site / "nvidia" / "cudnn" / "lib", site / "torch" / "lib", tmp_path / "cuda" / "lib64"
    for folder in (lib, torch, other, site / "nvidia_cudnn_cu12-9.1.0.70.dist-info"):
        folder.mkdir(parents=True)

    def build(code: str, target: Path, *options: str) -> None:
        source = tmp_path / "code.c"
        source.write_text(code)
        subprocess.run(["gcc", "-shared", "-fPIC", str(source), "-o", str(target), *options], check=True)

    build("int who(void) { return 1; }", lib / "libcudnn.so.9", "-Wl,-soname,libcudnn.so.9")
    build("int who(void) { return 2; }", other / "libcudnn.so.9.5.1", "-Wl,-soname,libcudnn.so.9")
    (other / "libcudnn.so.9").symlink_to("libcudnn.so.9.5.1")
    options = (f"-Wl,-rpath,$ORIGIN/../../nvidia/cudnn/lib,{tags}", f"-L{lib}", "-l:libcudnn.so.9")
    build("int who(void); int ask(void) { return who(); }", torch / "libtorch_cuda.so", *options)
    asked = "import ctypes, sys; print(ctypes.CDLL(sys.argv[1]).ask())"
    environ = {**os.environ, "LD_LIBRARY_PATH": str(other)}
    done = subprocess.run(
        [shutil.which("python3") or "python3", "-c", asked, str(torch / "libtorch_cuda.so")],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )

    seen = libraries.read(LocalHost(environ=environ), place(str(tmp_path), site=str(site)))

    replaced = {each.shadows for each in seen.libraries if each.shadows}
    assert done.stdout.strip() == {"variable": "2", "wheel": "1"}[wins]
    assert replaced == ({str(lib / "libcudnn.so.9")} if wins == "variable" else set())
