"""TensorFlow: whether its GPU libraries are there, are the right ones, and are found."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Framework, Package, PythonEnv, Snapshot
from envdoctor.model.speech import say
from envdoctor.model.version import at_least, major, minor, numbers, order, readable, released
from envdoctor.rules.frameworks.installed import version_of
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.remedies import Command, in_windows, pip_install, pip_uninstall
from envdoctor.rules.wording import few, listed

_INSTALL = "https://www.tensorflow.org/install/pip"
_SOURCE = "https://www.tensorflow.org/install/source#gpu"
_PATH = "pythons[0].frameworks.tensorflow"
_OWNERS = ("tensorflow", "tf-nightly")
# They all own the folder "tensorflow"; the first three ask for each other on some systems.
_ALL = ("tensorflow", "tensorflow-cpu", "tensorflow-gpu", "tf-nightly", "tensorflow-macos", "tensorflow-rocm")
_ONNX = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino", "onnxruntime-rocm")
# The CUDA libraries without which no GPU is used, by the wheel that brings them.
_NEEDED = ("nvidia-cudnn", "nvidia-cuda-runtime", "nvidia-cublas", "nvidia-cufft", "nvidia-cusolver", "nvidia-cusparse")


def _tensorflow(machine: Snapshot) -> tuple[PythonEnv, Framework, Package] | None:
    python = machine.python
    framework = python.framework("tensorflow") if python else None
    package = next((p for p in python.packages if p.name in _OWNERS and p.build is None), None) if python else None
    if python is None or framework is None or package is None or not released(framework.version):
        return None
    return python, framework, package


def _with_cuda(machine: Snapshot, version: str | None = None) -> Command:
    name = f"tensorflow[and-cuda]=={version}" if version else "tensorflow[and-cuda]"
    return pip_install(machine, name)


@rule(
    "TF001",
    "cuda-libraries-missing",
    "warning",
    needs=("gpus.vendor", "libraries", "pythons.packages", "system.os", "system.jetson", "variables"),
    sources=(_INSTALL, "pkg:pypi/tensorflow", "https://github.com/tensorflow/tensorflow/issues/63362"),
)
def cuda_libraries_are_missing(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """TensorFlow is a GPU build, and its CUDA libraries are not installed.

    Since 2.14 the libraries come with the extra and-cuda only. Without them TensorFlow says that it cannot open some
    GPU libraries, and works on the processor.

    Needed: the wheels of the extra, or the same libraries of the system.
    Check: `python -c "import tensorflow as tf; print(tf.config.list_physical_devices('GPU'))"`.
    Silent without an NVIDIA GPU, for CPU builds, and where the system brings CUDA and cuDNN, as NVIDIA's and
    TensorFlow's images do.
    """
    here = _tensorflow(machine)
    system = machine.system
    if here is None or system is None or system.os != "linux" or system.jetson or not machine.nvidia_gpus:
        return
    python, framework, package = here
    if framework.gpu_build is False or order(framework.version, "2.14") == -1 or not framework.cuda:
        return
    suffix = f"-cu{major(framework.cuda)}" if readable(framework.cuda) else ""
    missing = [f"{stem}{suffix}" for stem in _NEEDED if suffix and python.package(f"{stem}{suffix}") is None]
    by_system = any(each.owner in ("system", "conda") and each.name == "cudnn" for each in machine.libraries)
    if not missing or by_system:
        return
    yield found(
        say("TensorFlow {version} has no CUDA libraries here, so the GPU stays idle", version=framework.version),
        say("The wheels {missing} are not installed. They come with the extra and-cuda.", missing=few(missing)),
        evidence=(f"{_PATH}.version", f"{_PATH}.cuda", version_of(python, package)),
        fixes=(
            Fix(
                summary=say("Install TensorFlow's CUDA libraries with it."),
                commands=(_with_cuda(machine, framework.version),),
                effect="changes-env",
                page=_INSTALL,
            ),
        ),
    )


@rule(
    "TF002",
    "cudnn-older-than-build",
    "error",
    needs=("libraries", "pythons.packages", "pythons.frameworks.tensorflow.cudnn", "gpus.vendor"),
    supersedes=("TF004",),
    sources=(_SOURCE, "pkg:pypi/tensorflow"),
)
def cudnn_does_not_match(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The cuDNN in the environment is older than the one TensorFlow was built with, or of another major version.

    TensorFlow opens cuDNN by its major version and refuses one that is older than its build. Newer minor versions are
    fine.

    Check: `python -c "import tensorflow as tf; print(tf.sysconfig.get_build_info()['cudnn_version'])"`.
    Read from TensorFlow's own build file and the installed wheel. Silent without a GPU, and where no cuDNN wheel is
    installed, which TF001 tells.
    """
    here = _tensorflow(machine)
    if here is None or not machine.nvidia_gpus:
        return
    framework = here[1]
    built = readable(framework.cudnn)
    own = next(
        ((i, each) for i, each in enumerate(machine.libraries) if each.name == "cudnn" and each.owner == "pip"), None
    )
    if built is None or own is None or not readable(own[1].version):
        return
    have = own[1].version or ""
    one_number = "." not in built
    if major(have) == major(built) and (one_number or at_least(have, minor(built))):
        return
    yield found(
        say(
            "TensorFlow {version} was built with cuDNN {built}, and {have} is installed",
            version=framework.version,
            built=built,
            have=have,
        ),
        say(
            "Another package put this cuDNN into the environment. TensorFlow finds no usable one and does not use the "
            "GPU, or stops at the first convolution."
        ),
        evidence=(f"{_PATH}.cudnn", f"libraries[{own[0]}].version"),
        slug="framework-cuda-mismatch" if major(have) != major(built) else None,
        fixes=(
            Fix(
                summary=say("Put TensorFlow's libraries back; give another framework here an environment of its own."),
                commands=(pip_install(machine, "--force-reinstall", f"tensorflow[and-cuda]=={framework.version}"),),
                effect="changes-env",
            ),
        ),
    )


@rule(
    "TF003",
    "tensorflow-no-windows-gpu",
    "error",
    needs=("system.os", "gpus.vendor", "pythons.packages"),
    supersedes=("TF001",),
    sources=(_INSTALL,),
)
def no_gpu_on_windows(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """TensorFlow after 2.10 has no GPU support on Windows.

    Builds with GPU code for Windows ended with 2.10. Newer releases install without a word and use the processor.

    Needed: WSL 2, or TensorFlow 2.10 with CUDA 11.2 and cuDNN 8.1.
    Check: `python -c "import tensorflow as tf; print(tf.config.list_physical_devices('GPU'))"`.
    Silent in WSL, which is Linux, without an NVIDIA GPU, and with tensorflow-directml-plugin.
    """
    python, system = machine.python, machine.system
    framework = python.framework("tensorflow") if python else None
    if python is None or framework is None or system is None or system.os != "windows" or not machine.nvidia_gpus:
        return
    if order(framework.version, "2.11") == -1 or python.package("tensorflow-directml-plugin") is not None:
        return
    if python.package("tensorflow-cpu") is not None and python.package("tensorflow") is None:
        return  # the processor was chosen
    yield found(
        say(
            "TensorFlow {version} cannot use the GPU on Windows: 2.10 was the last release that could",
            version=framework.version,
        ),
        say("It works on the processor. In WSL 2 the same GPU is used."),
        evidence=("system.os", f"{_PATH}.version"),
        fixes=(
            in_windows(say("Use WSL 2, and install TensorFlow inside it."), ("wsl", "--install"), page=_INSTALL),
            Fix(
                summary=say(
                    "Or stay on Windows with the last release that has GPU code (it needs CUDA 11.2, cuDNN 8.1 and "
                    "Python 3.7 to 3.10)."
                ),
                commands=(pip_install(machine, "tensorflow<2.11", "numpy<2"),),
                effect="changes-env",
            ),
        ),
    )


@rule(
    "TF004",
    "cuda-libraries-missing",
    "warning",
    certainty="likely",
    needs=("gpus.vendor", "libraries", "pythons.packages", "variables", "system.os"),
    sources=("https://github.com/tensorflow/tensorflow/issues/63362", _INSTALL),
)
def wheels_are_not_found(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """This TensorFlow release often does not find the CUDA libraries that pip put beside it.

    TensorFlow 2.16 and 2.17 do not look into the folders of the nvidia wheels in some layouts.

    Needed: a later release, or LD_LIBRARY_PATH with the folders nvidia/*/lib.
    Check: `python -c "import tensorflow as tf; print(tf.config.list_physical_devices('GPU'))"`.
    Silent for other releases, without a GPU, where LD_LIBRARY_PATH names those folders, and where the system has
    cuDNN.
    """
    here = _tensorflow(machine)
    if here is None or not machine.nvidia_gpus or machine.system is None or machine.system.os != "linux":
        return
    python, framework, package = here
    if minor(framework.version) not in ("2.16", "2.17") or not framework.cuda:
        return
    wheels = [each for each in machine.libraries if each.owner == "pip" and each.name == "cudnn"]
    if not wheels or any(each.name == "cudnn" and each.owner in ("system", "conda") for each in machine.libraries):
        return
    if "/nvidia/" in (machine.variable("LD_LIBRARY_PATH") or ""):
        return
    yield found(
        say(
            "TensorFlow {version} may not find the CUDA libraries that pip installed beside it",
            version=framework.version,
        ),
        say("2.16 and 2.17 do not look there in some layouts, and then use the processor."),
        evidence=(f"{_PATH}.version", version_of(python, package)),
        slug="known-broken-release",
        fixes=(
            Fix(
                summary=say("Install a later release."),
                commands=(pip_install(machine, "--upgrade", "tensorflow[and-cuda]"),),
                effect="changes-env",
            ),
        ),
    )


@rule(
    "TF005",
    "python-without-wheel",
    "warning",
    needs=("pythons.version", "pythons.packages"),
    sources=(_SOURCE, "pkg:pypi/tensorflow"),
)
def tensorflow_not_made_for_this_python(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """Parts of TensorFlow are installed, and there is no TensorFlow for this Python.

    Wheels for a new Python come months after it. Until then pip finds "no matching distribution", which sounds like a
    fault of the network.

    Check: `python --version`.
    Judged only where packages of TensorFlow are there and TensorFlow is not: nobody else wants it here. The newest
    release of the table decides; pre-releases are not counted.
    """
    python = machine.python
    if python is None or not readable(python.version) or python.framework("tensorflow"):
        return
    parts = [
        each for each in python.packages if each.name.startswith(("tensorflow-", "tf-keras")) and each.build is None
    ]
    newest = next(iter(facts.tensorflow_releases), None)
    if not parts or newest is None or not newest.pythons:
        return
    top = max(newest.pythons, key=numbers)
    assert python.version
    if order(minor(python.version), top) != 1:
        return
    yield found(
        say(
            "There is no TensorFlow for Python {version} yet: {newest_version} goes up to {top}",
            version=minor(python.version),
            newest_version=newest.version,
            top=top,
        ),
        say(
            "{name} is installed without TensorFlow itself, which pip cannot find for this Python.", name=parts[0].name
        ),
        evidence=("pythons[0].version", version_of(python, parts[0])),
        fixes=(
            Fix(
                summary=say("Make an environment with Python {top}.", top=top),
                commands=(("uv", "venv", "--python", top),),
            ),
        ),
    )


@rule(
    "TF006",
    "cpu-and-gpu-packages-conflict",
    "error",
    needs=("pythons.packages",),
    sources=(
        "pkg:pypi/tensorflow",
        "https://packaging.python.org/en/latest/specifications/recording-installed-packages/",
    ),
)
def several_tensorflows(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """Several distributions that own the same files are installed side by side.

    tensorflow, tensorflow-cpu, tensorflow-gpu and tf-nightly unpack into one folder, onnxruntime and onnxruntime-gpu
    into another: the last one wins, and taking one out breaks the others.

    Check: `python -m pip list` shows one of them.
    Silent about those that TensorFlow itself asks for (tensorflow-intel on Windows, tensorflow-cpu-aws on ARM), and
    about tensorflow-gpu 2.12, which is empty.
    """
    python = machine.python
    if python is None:
        return
    nvidia = bool(machine.nvidia_gpus)
    for owners, kept in (
        (_ALL, "tensorflow[and-cuda]" if nvidia else "tensorflow"),
        (_ONNX, "onnxruntime-gpu" if nvidia else "onnxruntime"),
    ):
        clashing = _clashing(python, owners)
        if len({each.name for each in clashing}) < 2:
            continue
        names = tuple(dict.fromkeys(each.name for each in clashing))
        yield found(
            say(
                "{clashing} are installed over each other",
                clashing=listed(f"{each.name} {each.version}" for each in clashing),
            ),
            say("They own the same folder, so what runs is a mixture of their files."),
            evidence=tuple(version_of(python, each) for each in clashing),
            fixes=(
                Fix(
                    summary=say("Take all of them out, then install one."),
                    commands=(pip_uninstall(machine, *names), pip_install(machine, kept)),
                    effect="changes-env",
                ),
            ),
        )


def _clashing(python: PythonEnv, owners: tuple[str, ...]) -> list[Package]:
    """Give the distributions of one folder, those left out that another one of them asks for."""
    there = [each for each in python.packages if each.name in owners and each.build is None]
    there = [each for each in there if not (each.name == "tensorflow-gpu" and minor(each.version) == "2.12")]
    asked = [text for each in there for text in each.requires]
    return [each for each in there if not any(text.startswith(f"{each.name}==") for text in asked)]
