import os
import shutil
import subprocess
from pathlib import Path

import pytest

from envdoctor.host import Completed
from envdoctor.host.local import LocalHost
from envdoctor.host.recorded import RecordedHost, Recording
from envdoctor.model.snapshot import Snapshot, Toolkit
from envdoctor.probes import Place, toolkits

JSON = '{"cuda": {"name": "CUDA SDK", "version": "12.4.1"}, "cuda_nvcc": {"name": "NVCC", "version": "12.4.131"}}'
HEADER = "/* license */\n" + "\n" * 2000 + "#define CUDA_VERSION 11080\n"
WRAPPER = '#!/bin/sh\n# starts /nowhere/bin/nvcc\nexec /usr/local/cuda-13.0/bin/nvcc "$@"\n'


def place(prefix: str, manager: str, *site_dirs: str) -> Place:
    return Place(
        executable=f"{prefix}/bin/python",
        prefix=prefix,
        base_prefix=prefix,
        version="3.12.4",
        manager=manager,
        selected_by="PATH",
        site_dirs=site_dirs,
    )


def read(where: Place | None = None, **recorded: object) -> Snapshot:
    return toolkits.read(RecordedHost(Recording(**recorded)), where)  # type: ignore[arg-type]


def test_a_machine_without_a_toolkit_has_none_and_that_is_known() -> None:
    seen = read(environ={"CUDA_HOME": "/usr", "CUDA_PATH": "/opt/gone"}, files={"/usr/include/stdio.h": ""})

    assert (seen.toolkits, seen.gaps) == ((), ())


def test_one_toolkit_is_listed_once_with_every_way_to_it() -> None:
    seen = read(
        environ={
            "PATH": "/usr/local/cuda/bin:/usr/bin",
            "CUDA_HOME": "/usr/local/cuda",
            "CUDA_PATH": "/usr/local/cuda-12.4/",
        },
        files={"/usr/local/cuda-12.4/version.json": JSON},
        links={"/usr/local/cuda": "/etc/alternatives/cuda", "/etc/alternatives/cuda": "/usr/local/cuda-12.4"},
        executables=("/usr/local/cuda-12.4/bin/nvcc",),
    )

    assert seen.toolkits == (
        Toolkit(
            path="/usr/local/cuda-12.4",
            version="12.4.1",
            nvcc="/usr/local/cuda-12.4/bin/nvcc",
            found_by=("PATH", "CUDA_HOME", "CUDA_PATH", "/usr/local/cuda", "/usr/local/cuda-12.4"),
        ),
    )


def test_a_wrapper_script_is_not_a_toolkit_of_its_own() -> None:
    seen = read(
        environ={"PATH": "/usr/local/bin:/usr/bin"},
        files={"/usr/local/bin/nvcc": WRAPPER, "/usr/local/cuda-13.0/include/cuda.h": "#define CUDA_VERSION 13000"},
        links={"/usr/local/cuda": "cuda-13.0"},
        executables=("/usr/local/bin/nvcc", "/usr/local/cuda-13.0/bin/nvcc"),
    )

    assert [(t.path, t.version, t.found_by) for t in seen.toolkits] == [
        ("/usr/local/cuda-13.0", "13.0", ("PATH", "/usr/local/cuda", "/usr/local/cuda-13.0"))
    ]


@pytest.mark.parametrize(
    "script",
    [
        '#!/bin/sh\nexec "$CUDA_HOME/bin/nvcc" "$@"\n',
        "#!/bin/sh\nexec ${CONDA_PREFIX}/bin/nvcc\n",
        "#!/bin/sh\nexec nvcc\n",
    ],
)
def test_a_script_that_does_not_say_which_nvcc_it_starts_counts_for_nothing(script: str) -> None:
    seen = read(environ={"PATH": "/b"}, files={"/b/nvcc": script}, executables=("/b/nvcc", "/bin/nvcc"))

    assert seen.toolkits == ()


def test_a_compiler_cache_that_calls_itself_nvcc_is_passed_over() -> None:
    seen = read(
        environ={"PATH": "/usr/lib/ccache:/opt/cuda/bin"},
        links={"/usr/lib/ccache/nvcc": "/usr/bin/ccache"},
        files={"/opt/cuda/version.txt": "CUDA Version 10.2.89\n"},
        executables=("/usr/bin/ccache", "/opt/cuda/bin/nvcc"),
    )

    assert [(t.path, t.version, t.found_by) for t in seen.toolkits] == [("/opt/cuda", "10.2.89", ("PATH", "/opt/cuda"))]


def test_every_nvcc_on_path_counts_and_the_one_that_is_started_comes_first() -> None:
    seen = read(
        environ={"PATH": "/usr/local/cuda-11.8/bin:/usr/local/cuda-12.4/bin", "CUDA_HOME": "/usr/local/cuda-12.4"},
        files={"/usr/local/cuda-12.4/version.json": JSON, "/usr/local/cuda-11.8/include/cuda.h": HEADER},
        executables=("/usr/local/cuda-12.4/bin/nvcc", "/usr/local/cuda-11.8/bin/nvcc"),
    )

    assert [(t.version, t.found_by) for t in seen.toolkits] == [
        ("11.8", ("PATH", "/usr/local/cuda-11.8")),
        ("12.4.1", ("PATH", "CUDA_HOME", "/usr/local/cuda-12.4")),
    ]


def test_debians_toolkit_is_one_though_it_lies_in_three_places() -> None:
    seen = read(
        environ={"PATH": "/usr/bin", "CUDA_HOME": "/usr"},
        files={
            "/usr/bin/nvcc": '#!/bin/sh\nexec /usr/lib/nvidia-cuda-toolkit/bin/nvcc "$@"\n',
            "/usr/include/cuda.h": "#define CUDA_VERSION 11080",
        },
        links={"/usr/lib/cuda/bin": "/usr/lib/nvidia-cuda-toolkit/bin"},
        executables=("/usr/bin/nvcc", "/usr/lib/nvidia-cuda-toolkit/bin/nvcc"),
    )

    assert [(t.path, t.version, t.found_by) for t in seen.toolkits] == [
        (
            "/usr/lib/nvidia-cuda-toolkit",
            "11.8",
            ("PATH", "CUDA_HOME", "/usr/lib/cuda", "/usr/lib/nvidia-cuda-toolkit"),
        )
    ]


def test_a_runtime_image_has_a_toolkit_without_compiler() -> None:
    seen = read(
        files={"/usr/local/cuda-12.4/targets/x86_64-linux/lib/libcudart.so.12.4.127": ""},
        links={
            "/usr/local/cuda": "cuda-12.4",
            "/usr/local/cuda-12.4/lib64": "targets/x86_64-linux/lib",
            "/usr/local/cuda-12.4/targets/x86_64-linux/lib/libcudart.so.12": "libcudart.so.12.4.127",
        },
    )

    assert [(t.path, t.version, t.nvcc) for t in seen.toolkits] == [("/usr/local/cuda-12.4", "12.4", None)]


def test_conda_and_pip_toolkits_are_found_and_mere_runtime_libraries_are_not() -> None:
    site = "/c/lib/python3.12/site-packages"
    seen = read(
        place("/c", "conda", site),
        files={
            "/c/targets/x86_64-linux/include/cuda.h": "#define CUDA_VERSION 12060",
            f"{site}/nvidia/cu13/include/cuda.h": "#define  CUDA_VERSION 13020",
            f"{site}/nvidia/cuda_nvcc/bin/ptxas": "",
            f"{site}/nvidia_cuda_nvcc_cu12-12.6.77.dist-info/METADATA": "",
            f"{site}/nvidia/cuda_runtime/lib/libcudart.so.12": "",
        },
        executables=("/c/bin/nvcc", f"{site}/nvidia/cu13/bin/nvcc"),
    )

    assert [(t.path, t.version, t.nvcc, t.found_by) for t in seen.toolkits] == [
        ("/c", "12.6", "/c/bin/nvcc", ("conda",)),
        (f"{site}/nvidia/cu13", "13.2", f"{site}/nvidia/cu13/bin/nvcc", ("pip",)),
        (f"{site}/nvidia/cuda_nvcc", "12.6", None, ("pip",)),
    ]
    bare = read(place("/c", "conda"), files={"/c/lib/libcudart.so.12": "", "/c/bin/python3": ""})
    assert bare.toolkits == ()


def test_nvcc_is_asked_only_if_no_file_tells() -> None:
    answer = "nvcc: NVIDIA (R) Cuda compiler driver\nCuda compilation tools, release 12.9, V12.9.41\n"
    nvcc = "/opt/cuda/bin/nvcc"
    command = {f"{nvcc} --version": Completed(returncode=0, stdout=answer, stderr="")}

    asked = read(executables=(nvcc,), commands=command)
    told = read(executables=(nvcc,), commands=command, files={"/opt/cuda/version.json": JSON})
    silent = read(executables=(nvcc,), files={"/opt/cuda/version.json": '{"cuda": 3}'})

    assert [t.version for t in (*asked.toolkits, *told.toolkits, *silent.toolkits)] == ["12.9", "12.4.1", None]
    assert [gap.fact for gap in silent.gaps] == ["toolkits.version"]


def test_a_folder_that_may_not_be_read_is_a_gap_and_the_others_are_there() -> None:
    seen = read(
        files={"/usr/local/cuda-12.4/version.json": JSON, "/opt/cuda/include/cuda.h": ""},
        errors={"/opt/cuda/targets": "denied"},
    )

    assert [t.version for t in seen.toolkits] == ["12.4.1", None]
    assert [(gap.fact, gap.kind) for gap in seen.gaps] == [("toolkits.version", "denied")]


def test_a_real_wrapper_and_a_real_header_are_read(tmp_path: Path) -> None:
    cuda = tmp_path / "cuda-12.8"
    (cuda / "bin").mkdir(parents=True)
    (cuda / "include").mkdir()
    (cuda / "include" / "cuda.h").write_text("#define CUDA_VERSION 12080\n")
    shutil.copy("/bin/true", cuda / "bin" / "nvcc")
    (tmp_path / "bin").mkdir()
    wrapper = tmp_path / "bin" / "nvcc"
    wrapper.write_text(f'#!/bin/sh\nexec {cuda}/bin/nvcc "$@"\n')
    wrapper.chmod(0o755)
    assert subprocess.run([str(wrapper)], check=False).returncode == 0

    seen = toolkits.read(LocalHost(environ={"PATH": str(tmp_path / "bin"), "CUDA_HOME": str(cuda)}), None)

    ours = [t for t in seen.toolkits if t.path.startswith(os.path.realpath(tmp_path))]
    assert [(t.version, t.nvcc, t.found_by) for t in ours] == [("12.8", f"{cuda}/bin/nvcc", ("PATH", "CUDA_HOME"))]
