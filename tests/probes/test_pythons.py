import os
import subprocess
import sys
from pathlib import Path

import pytest

from envdoctor.host import ElfFacts
from envdoctor.host.local import LocalHost
from envdoctor.host.recorded import RecordedHost, Recording
from envdoctor.model.snapshot import Framework, PythonEnv, Snapshot
from envdoctor.probes import Place, pythons
from envdoctor.probes.place import locate

SITE = "/w/env/lib/python3.12/site-packages"
ELF64 = b"\x7fELF\x02\x01\x01" + bytes(500) + b"/lib64/ld-linux-x86-64.so.2\0"


def info(name: str, metadata: str = "", installer: str = "pip\n", site: str = SITE) -> dict[str, str]:
    return {f"{site}/{name}.dist-info/METADATA": metadata, f"{site}/{name}.dist-info/INSTALLER": installer}


def venv(files: dict[str, str], *, site_dirs: tuple[str, ...] = (SITE,), **more: object) -> Snapshot:
    place = Place(
        executable="/w/env/bin/python",
        prefix="/w/env",
        base_prefix="/usr",
        version="3.12.4",
        manager="venv",
        selected_by="VIRTUAL_ENV",
        site_dirs=site_dirs,
    )
    recording = Recording(files={f"{SITE}/x.py": "", **files}, **more)  # type: ignore[arg-type]
    return pythons.read(RecordedHost(recording), place)


def python_of(seen: Snapshot) -> PythonEnv:
    assert seen.python is not None
    return seen.python


def torch_of(seen: Snapshot) -> Framework:
    torch = python_of(seen).framework("torch")
    assert torch is not None
    return torch


def test_without_a_python_there_is_nothing_and_nothing_is_unknown() -> None:
    assert pythons.read(RecordedHost(Recording()), None) == Snapshot()


def test_watched_distributions_are_read_and_others_named() -> None:
    metadata = "Name: torchvision\nRequires-Dist: torch (==2.7.1)\nRequires-Dist: numpy\n\nRequires-Dist: no"
    seen = python_of(venv({**info("torchvision-0.22.1+cu128", metadata, "uv"), **info("Some_Thing-1.0", metadata)}))

    vision, other = seen.package("torchvision"), seen.package("some-thing")

    assert vision is not None and other is not None
    assert (vision.version, vision.installer, vision.location) == ("0.22.1+cu128", "uv", SITE)
    assert vision.requires == ("torch (==2.7.1)", "numpy")
    assert (other.version, other.installer, other.requires) == ("1.0", None, ())


def test_the_same_distribution_twice_is_listed_twice() -> None:
    user = "/home/u/.local/lib/python3.12/site-packages"
    files = {**info("numpy-1.26.4"), **info("numpy-2.1.0"), **info("numpy-2.2.0", site=user)}

    seen = python_of(venv(files, site_dirs=(SITE, user)))

    assert [(p.version, p.location) for p in seen.packages] == [("1.26.4", SITE), ("2.1.0", SITE), ("2.2.0", user)]


def test_metadata_that_is_broken_costs_nothing_else() -> None:
    seen = venv(
        {**info("xformers-0.0.30", ""), **info("scipy-1.15.0", "\n\n"), f"{SITE}/~orch-2.0.0.dist-info/METADATA": ""},
        binaries={f"{SITE}/torch-2.7.1.dist-info/METADATA": b"Name: t\xff\xfe\r\nRequires-Dist: sym\xffpy\r\n\r\nx"},
        folders=(f"{SITE}/pandas-2.2.0.dist-info",),
    )

    versions = {p.name: p.version for p in python_of(seen).packages}

    assert versions == {"xformers": "0.0.30", "scipy": "1.15.0", "torch": "2.7.1", "pandas": "2.2.0"}
    torch = python_of(seen).package("torch")
    assert torch is not None and torch.requires == ("sym\ufffdpy",)
    assert seen.gaps == ()


def test_what_may_not_be_read_is_a_gap_and_the_rest_is_there() -> None:
    user = "/home/u/.local/lib/python3.12/site-packages"
    seen = venv(
        {**info("numpy-2.1.0"), **info("scipy-1.15.0")},
        site_dirs=(user, SITE),
        errors={user: "denied", f"{SITE}/scipy-1.15.0.dist-info/METADATA": "denied"},
    )

    assert [p.name for p in python_of(seen).packages] == ["numpy", "scipy"]
    assert [(gap.fact, gap.kind) for gap in seen.gaps] == [
        ("pythons[0].packages", "denied"),
        ("pythons[0].packages.scipy.requires", "denied"),
    ]
    assert seen.gap("pythons") is not None


def test_conda_and_pip_views_of_a_package_stand_side_by_side() -> None:
    site = "/c/lib/python3.12/site-packages"
    files = {
        **info("numpy-2.1.0", installer="conda", site=site),
        **info("torch-2.7.1", installer="pip", site=site),
        **info("requests-2.31.0", installer="pip", site=site),
        "/c/conda-meta/numpy-2.1.0-py312h58c1407_0.json": "{}",
        "/c/conda-meta/requests-2.32.0-pyhd8ed1ab_0.json": "{}",
        "/c/conda-meta/cuda-version-12.6-h7480c83_3.json": "{}",
        "/c/conda-meta/history": "",
    }
    place = Place(
        executable="/c/bin/python",
        prefix="/c",
        base_prefix="/c",
        version="3.12.4",
        manager="conda",
        selected_by="CONDA_PREFIX",
        site_dirs=(site,),
    )

    seen = python_of(pythons.read(RecordedHost(Recording(files=files)), place))

    both = [(p.version, p.installer, p.build) for p in seen.packages if p.name == "numpy"]
    assert both == [("2.1.0", "conda", None), ("2.1.0", "conda", "py312h58c1407_0")]
    mixed = [(p.version, p.installer) for p in seen.packages if p.name == "requests"]
    assert mixed == [("2.31.0", "pip"), ("2.32.0", "conda")]
    version = seen.package("cuda-version")
    assert version is not None and (version.version, version.build) == ("12.6", "h7480c83_3")


def test_eggs_have_a_version_too() -> None:
    files = {
        f"{SITE}/PyYAML-6.0.egg-info/PKG-INFO": "",
        f"{SITE}/flash_attn-2.5.0-py3.12-linux-x86_64.egg-info": "Requires-Dist: torch\n",
        f"{SITE}/old_tool.egg-info/PKG-INFO": "Name: old\nVersion: 0.9\n",
        f"{SITE}/six.egg-info": "Version: 1.15\n",
        **info("six-1.16.0"),
    }

    seen = python_of(venv(files))

    versions = {(p.name, p.version) for p in seen.packages}
    assert versions == {("pyyaml", "6.0"), ("flash-attn", "2.5.0"), ("old-tool", "0.9"), ("six", "1.16.0")}
    flash = seen.package("flash-attn")
    assert flash is not None and flash.requires == ("torch",)


TORCH_CUDA = """from typing import Optional
__all__ = ['__version__', 'debug', 'cuda', 'git_version', 'hip', 'xpu']
__version__ = '2.7.1+cu128'
debug = False
cuda: Optional[str] = '12.8'
git_version = 'e2d141dbde55c2a4370fac5165b0561b6af4798b'
hip: Optional[str] = None
xpu: Optional[str] = None
"""


def test_a_cuda_build_of_torch_tells_its_cuda_cudnn_and_architectures() -> None:
    library = f"{SITE}/torch/lib/libtorch_cuda.so"
    seen = venv(
        {f"{SITE}/torch/version.py": TORCH_CUDA, **info("torch-2.7.1+cu128"), **info("nvidia_cudnn_cu12-9.7.1.26")},
        elfs={library: ElfFacts(gpu_archs=("sm_75", "sm_120", "compute_120"))},
    )

    torch = torch_of(seen)

    assert (torch.version, torch.cuda, torch.hip, torch.xpu) == ("2.7.1+cu128", "12.8", None, None)
    assert (torch.cudnn, torch.gpu_build, torch.location) == ("9.7.1", True, f"{SITE}/torch")
    assert torch.archs == ("sm_75", "sm_120", "compute_120")
    assert seen.gaps == ()
    assert seen.evidence("pythons[0].frameworks.torch.cuda")[0].source == f"{SITE}/torch/version.py"


def test_a_torch_library_that_cannot_be_read_leaves_the_architectures_unknown() -> None:
    library = f"{SITE}/torch/lib/libtorch_cuda.so"
    seen = venv({f"{SITE}/torch/version.py": TORCH_CUDA}, errors={library: "denied"})

    assert torch_of(seen).archs is None
    assert torch_of(seen).gpu_build is True
    gap = seen.gap("pythons[0].frameworks.torch.archs")
    assert gap is not None and gap.kind == "denied"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("__version__ = '1.13.1+cu117'\ncuda = '11.7'\nhip = None\n", ("1.13.1+cu117", "11.7", None, None, True)),
        (
            "__version__ = '2.9.0+rocm6.4'\ncuda: str | None = None\nhip: str | None = '6.4.43484'\n",
            ("2.9.0+rocm6.4", None, "6.4.43484", None, True),
        ),
        (
            '__version__ = "2.8.0+xpu"\ncuda: Optional[str] = None\nxpu: Optional[str] = "20250101"\n',
            ("2.8.0+xpu", None, None, "20250101", True),
        ),
        ("__version__ = '2.7.1+cpu'\ncuda = None\n", ("2.7.1+cpu", None, None, None, False)),
    ],
)
def test_every_build_of_torch_is_recognised(content: str, expected: tuple[object, ...]) -> None:
    torch = torch_of(venv({f"{SITE}/torch/version.py": content}))

    assert (torch.version, torch.cuda, torch.hip, torch.xpu, torch.gpu_build) == expected


def test_torch_before_2_carries_cudnn_in_its_own_folder() -> None:
    files = {
        f"{SITE}/torch/version.py": "__version__ = '1.13.1'\ncuda = '11.7'\n",
        f"{SITE}/torch/lib/libcudnn.so.8": "",
    }

    assert torch_of(venv(files)).cudnn == "8"


def test_an_editable_torch_is_known_by_its_metadata_only() -> None:
    torch = torch_of(venv(info("torch-2.9.0a0+gitabc")))

    assert (torch.version, torch.location, torch.gpu_build, torch.archs) == ("2.9.0a0+gitabc", None, None, None)


def test_condas_torch_finds_its_kernels_and_cudnn_in_the_prefix() -> None:
    seen = venv(
        {f"{SITE}/torch/version.py": TORCH_CUDA, "/w/env/conda-meta/cudnn-9.10.1.4-haad7af6_1.json": "{}"},
        elfs={"/w/env/lib/libtorch_cuda.so": ElfFacts(gpu_archs=("sm_90",))},
    )

    assert (torch_of(seen).archs, torch_of(seen).cudnn) == (("sm_90",), "9.10.1")


TF_PAIRS = (
    "import collections\nbuild_info = collections.OrderedDict([('cpu_compiler', '/usr/lib/llvm-18/bin/clang'), "
    "('cuda_compute_capabilities', ['sm_60', 'sm_89', 'compute_90']), ('cuda_version', '12.5.1'), "
    "('cudnn_version', '9'), ('is_cuda_build', True), ('is_rocm_build', False), ('is_tensorrt_build', False)])\n"
)
TF_CPU = "build_info = collections.OrderedDict([('is_cuda_build', False), ('is_rocm_build', False)])\n"
TF_DICT = "build_info = {'cuda_version': '10.1', 'cudnn_version': '7', 'is_rocm_build': False, 'is_cuda_build': True}\n"


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("tensorflow-2.19.0", TF_PAIRS, ("2.19.0", "12.5.1", "9", ("sm_60", "sm_89", "compute_90"), True)),
        ("tensorflow_cpu-2.21.0", TF_CPU, ("2.21.0", None, None, None, False)),
        ("tensorflow-2.3.0", TF_DICT, ("2.3.0", "10.1", "7", None, True)),
        ("tensorflow-2.19.0", "", ("2.19.0", None, None, None, None)),
    ],
)
def test_tensorflow_tells_what_it_was_built_with(name: str, content: str, expected: tuple[object, ...]) -> None:
    files = {**info(name), f"{SITE}/tensorflow/python/platform/build_info.py": content}

    tf = python_of(venv(files)).framework("tensorflow")

    assert tf is not None
    assert (tf.version, tf.cuda, tf.cudnn, tf.archs, tf.gpu_build) == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("jax-0.10.2", "jaxlib-0.10.2"), ("0.10.2", None, None, None, False)),
        (
            (
                "jax-0.5.0",
                "jaxlib-0.5.0",
                "jax_cuda12_plugin-0.5.0",
                "jax_cuda12_pjrt-0.5.0",
                "nvidia_cudnn_cu12-9.8.0.87",
            ),
            ("0.5.0", "12", "9.8.0", None, True),
        ),
        (("jax-0.10.2", "jax_cuda12_plugin-0.10.2", "jax_cuda13_plugin-0.10.2"), ("0.10.2", "13", None, None, True)),
        (("jax-0.4.16", "jaxlib-0.4.16+cuda12.cudnn89"), ("0.4.16", "12", "8.9", None, True)),
        (("jax-0.6.0", "jax_rocm60_plugin-0.6.0"), ("0.6.0", None, None, "6", True)),
    ],
)
def test_jax_is_as_able_as_its_plugins(names: tuple[str, ...], expected: tuple[object, ...]) -> None:
    jax = python_of(venv({path: text for name in names for path, text in info(name).items()})).framework("jax")

    assert jax is not None
    assert (jax.version, jax.cuda, jax.cudnn, jax.hip, jax.gpu_build) == expected


def test_the_program_tells_bits_and_c_library() -> None:
    link = {"/w/env/bin/python": "/usr/bin/python3.12"}
    musl = b"\x7fELF\x02" + bytes(100) + b"/lib/ld-musl-x86_64.so.1\0"
    narrow = b"\x7fELF\x01" + bytes(100) + b"/lib/ld-linux.so.2\0"

    def read(content: bytes, **files: str) -> tuple[int | None, str | None]:
        seen = python_of(venv(files, links=link, binaries={"/usr/bin/python3.12": content}))
        return seen.bits, seen.libc

    assert read(ELF64) == (64, "glibc")
    assert read(musl) == (64, "musl")
    assert read(narrow) == (32, "glibc")
    assert read(b"#!/bin/sh") == (None, None)
    assert read(b"\x7fELF\x02" + bytes(100), **{"/lib/ld-musl-x86_64.so.1": ""}) == (64, "musl")
    assert python_of(venv({})).bits is None


def test_pip_and_python_on_path_are_named_by_their_prefix() -> None:
    files = {
        "/other/pyvenv.cfg": "home = /usr/bin\nversion = 3.12.1",
        "/other/lib/python3.12/site-packages/a": "",
        "/other/bin/pip": "#!/other/bin/python3.12\nimport sys\n",
        "/w/env/pyvenv.cfg": "home = /usr/bin\nversion = 3.12.4",
    }
    seen = venv(
        files,
        executables=("/other/bin/pip", "/w/env/bin/python", "/usr/bin/python3.12"),
        environ={"PATH": "/other/bin:/w/env/bin"},
    )

    assert (python_of(seen).pip_prefix, python_of(seen).path_prefix) == ("/other", "/w/env")


def test_free_threading_and_external_management_are_seen() -> None:
    place = Place(
        executable="/p/bin/python3",
        prefix="/p",
        base_prefix="/p",
        version="3.13.1",
        manager="other",
        selected_by="PATH",
        site_dirs=("/p/lib/python3.13t/site-packages",),
    )
    files = {"/p/lib/python3.13t/site-packages/a": "", "/p/lib/python3.13t/EXTERNALLY-MANAGED": "[externally-managed]"}

    seen = python_of(pythons.read(RecordedHost(Recording(files=files)), place))

    assert (seen.free_threaded, seen.externally_managed) == (True, True)
    assert (python_of(venv({})).free_threaded, python_of(venv({})).externally_managed) == (False, False)


def test_a_real_environment_with_a_torch_laid_by_hand(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "env")], check=True)
    site = next((tmp_path / "env" / "lib").glob("python3*")) / "site-packages"
    (site / "torch" / "lib").mkdir(parents=True)
    (site / "torch" / "version.py").write_text("__version__ = '2.13.0+cpu'\ncuda: Optional[str] = None\n")
    dist = site / "torch-2.13.0+cpu.dist-info"
    dist.mkdir()
    (dist / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: torch\nVersion: 2.13.0+cpu\nRequires-Dist: filelock\n\nText"
    )
    (dist / "INSTALLER").write_text("pip\n")
    host = LocalHost(environ={**os.environ, "VIRTUAL_ENV": str(tmp_path / "env")})

    seen = pythons.read(host, locate(host, None))

    python = python_of(seen)
    assert python.bits == 64 and python.libc in ("glibc", "musl")
    assert python.selected_by == "VIRTUAL_ENV" and not python.externally_managed
    torch, package = torch_of(seen), python.package("torch")
    assert (torch.version, torch.cuda, torch.gpu_build) == ("2.13.0+cpu", None, False)
    assert package is not None and (package.installer, package.requires) == ("pip", ("filelock",))
    assert [p.name for p in python.packages] == ["torch"]
    assert seen.gaps == ()
