"""JAX: its plugin, the versions that must agree, and what the plugin needs of driver, GPU and CUDA libraries."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Package, PythonEnv, Snapshot
from envdoctor.model.speech import say
from envdoctor.model.version import at_least, cudnn_of_wheel, major, numbers, order, readable
from envdoctor.rules.frameworks.installed import version_of
from envdoctor.rules.python.reinstall import cards
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.remedies import pip_install, pip_uninstall
from envdoctor.rules.wording import listed

_INSTALL = "https://docs.jax.dev/en/latest/installation.html"
_PLUGIN = "https://github.com/jax-ml/jax/blob/main/jax_plugins/cuda/__init__.py"
_SUPPORT = "https://github.com/jax-ml/jax/blob/main/jaxlib/plugin_support.py"
_KINDS = ("cuda12", "cuda13")
# What each plugin needs: driver, compute capability.
_FLOORS = {"cuda12": ("525", "5.2"), "cuda13": ("580", "7.5")}
_CUDNN = "9.8"  # the least that the plugins accept, and the one release they refuse
_BROKEN_CUDNN = "9.10.0"


def _extra(machine: Snapshot, facts: Knowledge) -> str:
    """Choose the CUDA plugin that driver and cards here can run."""
    driver = machine.driver.version if machine.driver else None
    new = driver is None or not readable(driver) or at_least(driver, "580")
    return (
        "jax[cuda13]"
        if new and all(at_least(each.capability, "7.5") for each in cards(machine, facts))
        else "jax[cuda12]"
    )


def _upgrade(machine: Snapshot, facts: Knowledge) -> Fix:
    return Fix(
        summary=say("Let the extra move JAX and its plugin together."),
        commands=(pip_install(machine, "--upgrade", _extra(machine, facts)),),
        effect="changes-env",
        page=_INSTALL,
    )


def _plugins(python: PythonEnv) -> list[tuple[str, Package]]:
    return [(kind, package) for kind in _KINDS if (package := python.package(f"jax-{kind}-plugin"))]


@rule(
    "JAX001",
    "cpu-only-build",
    "warning",
    needs=("gpus.vendor", "pythons.packages", "system.os", "variables"),
    sources=(_INSTALL, "https://github.com/jax-ml/jax/blob/main/jax/_src/hardware_utils.py"),
)
def jax_without_plugin(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """JAX is installed without its GPU plugin on a machine with an NVIDIA GPU.

    The packages jax and jaxlib compute on the processor; GPU code is in a plugin of its own. JAX prints one warning and
    goes on.

    Needed: the plugin for CUDA 13 (driver 580, Turing or newer) or for CUDA 12.
    Check: `python -c "import jax; print(jax.devices())"`.
    Silent where JAX_PLATFORMS asks for the processor, on Windows and macOS, which have no plugin, and for the old
    jaxlib builds with CUDA inside.
    """
    python, system = machine.python, machine.system
    framework = python.framework("jax") if python else None
    jax = python.package("jax") if python else None
    if python is None or framework is None or jax is None or system is None or system.os != "linux" or system.jetson:
        return
    if not machine.nvidia_gpus or framework.gpu_build is not False or machine.variable("JAX_PLATFORMS"):
        return
    yield found(
        say("JAX {version} has no GPU plugin here, so the GPU stays idle", version=jax.version),
        say("jax and jaxlib alone compute on the processor."),
        evidence=(version_of(python, jax), "pythons[0].frameworks.jax.gpu_build"),
        fixes=(_upgrade(machine, facts),),
    )


@rule(
    "JAX002",
    "jax-versions-differ",
    "error",
    needs=("pythons.packages",),
    supersedes=("JAX003",),
    sources=(_SUPPORT, "pkg:pypi/jax-cuda13-plugin"),
)
def plugin_of_other_version(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The JAX plugin is of another version than jaxlib.

    jaxlib ignores a CUDA plugin of any other release, with one warning, and computes on the processor. Upgrading jax
    alone is the usual reason.

    Needed: jaxlib, plugin and its pjrt package of one release.
    Check: `python -m pip list` shows one version for all of them.
    Silent for the plugins of ROCm, and about post-releases, which only add to a release.
    """
    python = machine.python
    lib = python.package("jaxlib") if python else None
    if python is None or lib is None or not readable(lib.version):
        return
    for kind in _KINDS:
        parts = [p for name in (f"jax-{kind}-plugin", f"jax-{kind}-pjrt") if (p := python.package(name))]
        other = [
            each for each in parts if readable(each.version) and numbers(each.version)[:3] != numbers(lib.version)[:3]
        ]
        if not other:
            continue
        yield found(
            say(
                "{other} and jaxlib {version} do not go together",
                other=listed(f"{each.name} {each.version}" for each in other),
                version=lib.version,
            ),
            say("jaxlib ignores a plugin of another release and computes on the processor."),
            evidence=(version_of(python, lib), *(version_of(python, each) for each in other)),
            fixes=(
                Fix(
                    summary=say("Let the extra move all of them together."),
                    commands=(pip_install(machine, "--upgrade", f"jax[{kind}]"),),
                    effect="changes-env",
                ),
            ),
        )


@rule(
    "JAX003",
    "jax-versions-differ",
    "error",
    needs=("pythons.packages",),
    sources=("https://github.com/jax-ml/jax/blob/main/jax/_src/lib/__init__.py",),
)
def jaxlib_does_not_fit(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The packages jax and jaxlib do not fit each other.

    jax checks jaxlib at import and stops where it is newer than jax or older than jax's own minimum.

    Check: `python -c "import jax"`.
    The minimum is read from jax's metadata. Silent about development builds.
    """
    from envdoctor.rules.frameworks.installed import unmet

    python = machine.python
    jax = python.package("jax") if python else None
    lib = python.package("jaxlib") if python else None
    if python is None or jax is None or lib is None or "dev" in jax.version + lib.version:
        return
    newer = order(lib.version, jax.version) == 1 and numbers(lib.version)[:3] != numbers(jax.version)[:3]
    broken = next((each for each in unmet(machine, jax, "jaxlib") if each.name == "jaxlib"), None)
    if not newer and broken is None:
        return
    yield found(
        say(
            "jaxlib {version} does not fit jax {jax_version}, which needs {wanted}",
            version=lib.version,
            jax_version=jax.version,
            wanted=broken.wanted,
        )
        if broken and not newer
        else say(
            "jaxlib {version} does not fit jax {jax_version}: it is newer",
            version=lib.version,
            jax_version=jax.version,
        ),
        say("jax stops at its import."),
        evidence=(version_of(python, jax), version_of(python, lib)),
        fixes=(
            Fix(
                summary=say("Upgrade both together."),
                commands=(pip_install(machine, "--upgrade", "jax", "jaxlib"),),
                effect="changes-env",
            ),
        ),
    )


@rule(
    "JAX004",
    "gpu-too-old-for-build",
    "error",
    needs=("pythons.packages", "gpus.capability", "driver.version", "driver.libcuda_path"),
    supersedes=("DRV007",),
    sources=(_INSTALL,),
)
def below_the_plugins_floor(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """GPU or driver is below what the installed JAX plugin needs.

    The CUDA 13 plugin needs driver 580 and a Turing card or newer, the CUDA 12 plugin driver 525 and Maxwell.

    Check: `python -c "import jax; print(jax.devices())"`.
    Where both plugins are installed the newer one counts, which JAX takes first. Silent on the driver's side where
    cuda-compat provides libcuda, and where one card is new enough.
    """
    python, driver = machine.python, machine.driver
    plugins = _plugins(python) if python else []
    if python is None or not plugins or driver is None or (machine.system and machine.system.jetson):
        return
    kind, package = plugins[-1]
    floor, capability = _FLOORS[kind]
    gpus = cards(machine, facts)
    old_gpu = bool(gpus) and not any(at_least(each.capability, capability) for each in gpus)
    version = readable(driver.version)
    old_driver = version is not None and not at_least(version, floor) and "/compat/" not in (driver.libcuda_path or "")
    if not old_gpu and not old_driver:
        return
    reasons = [say("driver {floor} (here {version})", floor=floor, version=version)] * old_driver
    reasons += (
        [
            say(
                "compute capability {capability} (here {name}: {gpus_capability})",
                capability=capability,
                name=gpus[0].name,
                gpus_capability=gpus[0].capability,
            )
        ]
        * old_gpu
        if gpus
        else []
    )
    older = kind == "cuda13" and (not old_gpu or any(at_least(each.capability, "5.2") for each in gpus))
    commands = (
        pip_uninstall(machine, "jax-cuda13-plugin", "jax-cuda13-pjrt"),
        pip_install(machine, "--upgrade", "jax[cuda12]"),
    )
    yield found(
        say(
            "The JAX plugin for {kind} needs {reasons}",
            kind=kind.upper().replace("CUDA", "CUDA "),
            reasons=listed(reasons),
        ),
        say("Below that it stops at its start."),
        evidence=(
            version_of(python, package),
            *(("driver.version",) if old_driver else ()),
            *((gpus[0].evidence,) if old_gpu else ()),
        ),
        slug=None if old_gpu else "driver-too-old",
        fixes=(
            Fix(summary=say("Take the CUDA 12 plugin."), commands=commands, effect="changes-env", page=_INSTALL)
            if older
            else Fix(summary=say("Update the driver, or use JAX on the processor."), page=_INSTALL),
        ),
    )


@rule(
    "JAX005",
    "cudnn-older-than-build",
    "error",
    needs=("pythons.packages",),
    sources=(_PLUGIN, _INSTALL),
)
def cudnn_too_old_for_jax(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The cuDNN in the environment is older than JAX accepts.

    JAX tests the CUDA libraries at its start and refuses those that are older than its build. Installing torch into the
    same environment often brings an older cuDNN.

    Needed: cuDNN 9.8 or newer, and not 9.10.0.
    Check: `python -c "import jax; print(jax.devices())"`.
    Judged where a CUDA plugin of JAX 0.5.3 or newer is installed; JAX_SKIP_CUDA_CONSTRAINTS_CHECK hides the test and
    not the fault.
    """
    python = machine.python
    plugins = _plugins(python) if python else []
    if python is None or not plugins or order(plugins[-1][1].version, "0.5.3") == -1:
        return
    kind = plugins[-1][0]
    cudnn = python.package(f"nvidia-cudnn-cu{kind[-2:]}")
    version = readable(cudnn_of_wheel(cudnn.version)) if cudnn and readable(cudnn.version) else None
    if cudnn is None or version is None or (at_least(version, _CUDNN) and version != _BROKEN_CUDNN):
        return
    yield found(
        say(
            "JAX needs cuDNN {cudnn} or newer (not {broken_cudnn}), and {version} is installed",
            cudnn=_CUDNN,
            broken_cudnn=_BROKEN_CUDNN,
            version=cudnn.version,
        ),
        say(
            "JAX refuses it at its start and uses the processor. Another framework here probably asked for that "
            "version."
        ),
        evidence=(version_of(python, cudnn), version_of(python, plugins[-1][1])),
        fixes=(
            Fix(
                summary=say("Give JAX and the other framework an environment each."),
                commands=(("envdoctor", "provision", "--framework", "jax"),),
            ),
            Fix(
                summary=say("Or install a newer cuDNN, which the other framework was not tested with."),
                commands=(pip_install(machine, f"{cudnn.name}>={_CUDNN},<10"),),
                effect="changes-env",
            ),
        ),
    )


@rule(
    "JAX006",
    "jax-two-plugins",
    "warning",
    needs=("pythons.packages",),
    sources=(_PLUGIN, _SUPPORT),
)
def two_plugins(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """Both CUDA plugins of JAX are installed.

    JAX tries the one for CUDA 13 first. Each brings gigabytes of libraries, and those of both majors share folders.

    Check: `python -m pip list` shows one plugin.
    """
    python = machine.python
    plugins = _plugins(python) if python else []
    if python is None or len(plugins) < 2:
        return
    keep_old = _extra(machine, facts) == "jax[cuda12]"
    extra = "cuda13" if keep_old else "cuda12"
    yield found(
        say("The JAX plugins for CUDA 12 and CUDA 13 are both installed"),
        say("JAX takes the one for CUDA 13 first; the other one only takes room, but this machine needs it.")
        if keep_old
        else say("JAX takes the one for CUDA 13 first; the other one only takes room."),
        evidence=tuple(version_of(python, package) for _, package in plugins),
        fixes=(
            Fix(
                summary=say("Take out the one for CUDA {extra}.", extra=extra[-2:]),
                commands=(pip_uninstall(machine, f"jax-{extra}-plugin", f"jax-{extra}-pjrt"),),
                effect="changes-env",
            ),
        ),
    )


@rule(
    "JAX007",
    "known-broken-release",
    "warning",
    needs=("pythons.packages", "gpus.capability"),
    sources=(_PLUGIN,),
)
def cublas_damages_results(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """This cuBLAS can damage results under JAX on data-centre Blackwell GPUs.

    JAX warns about cuBLAS 12.8 to 13.1 on compute capability 10.x and 11.x: kernels there may free memory twice, and
    programs with several streams may compute with damaged data. 13.2 repairs it.

    Check: `python -m pip show nvidia-cublas`.
    Silent on other cards, GeForce Blackwell (12.0) among them.
    """
    python = machine.python
    if python is None or python.package("jax") is None:
        return
    touched = [each for each in cards(machine, facts) if major(each.capability) in (10, 11)]
    cublas = next((p for name in ("nvidia-cublas", "nvidia-cublas-cu12") if (p := python.package(name))), None)
    if not touched or cublas is None or not readable(cublas.version):
        return
    if order(cublas.version, "12.8") == -1 or at_least(cublas.version, "13.2"):
        return
    yield found(
        say(
            "cuBLAS {version} can damage results on the {name} under JAX", version=cublas.version, name=touched[0].name
        ),
        say("JAX warns about cuBLAS 12.8 to 13.1 on these cards; programs with several streams are concerned."),
        evidence=(version_of(python, cublas), touched[0].evidence),
        fixes=(
            Fix(
                summary=say("Install the repaired release."),
                commands=(pip_install(machine, "nvidia-cublas>=13.2"),),
                effect="changes-env",
            ),
        ),
    )
