"""Probes of what surrounds the driver and the environment: daemons, engines, settings, damage."""

from __future__ import annotations

from typing import Any

import pytest
from linux_machines import MEMINFO
from msgspec.structs import replace

from envdoctor.host import Completed, ElfFacts, Node, Space
from envdoctor.host.recorded import RecordedHost, Recording
from envdoctor.model.snapshot import Driver, Package, System
from envdoctor.probes import (
    Place,
    accelerators,
    device_files,
    engines,
    installation,
    memory,
    nvidia_services,
    pip_settings,
    platforms,
    toolkits,
    variables,
    wsl,
)
from envdoctor.probes.partial import Gaps

SITE = "/e/lib/python3.12/site-packages"
PLACE = Place(
    executable="/e/bin/python",
    prefix="/e",
    base_prefix="/usr",
    version="3.12.4",
    manager="venv",
    selected_by="VIRTUAL_ENV",
    site_dirs=(SITE,),
)


def host(**facts: Any) -> RecordedHost:
    return RecordedHost(Recording(**facts))


def test_a_machine_without_engines_is_asked_nothing_more() -> None:
    assert engines.PROBE.read(host(environ={"PATH": "/usr/bin"}), None).docker is None


def test_docker_with_toolkit_and_description() -> None:
    machine = host(
        environ={"PATH": "/usr/bin"},
        executables=("/usr/bin/docker", "/usr/bin/nvidia-ctk"),
        files={
            engines.DAEMON: '{"runtimes": {"nvidia": {}}, "features": {"cdi": true}}',
            "/etc/cdi/nvidia.yaml": "hostPath: /usr/lib/libcuda.so.550.54.15",
        },
    )
    docker = engines.PROBE.read(machine, None).docker
    assert docker
    assert (docker.engine, docker.toolkit, docker.runtimes, docker.cdi_feature) == (True, True, ("nvidia",), True)
    assert [(each.path, each.driver) for each in docker.cdi] == [("/etc/cdi/nvidia.yaml", "550.54.15")]


@pytest.mark.parametrize(
    ("times", "expected"),
    [((200.5, 100.0), True), ((100.0, 200.5), False), ((200.5, None), None), ((None, 100.0), None)],
)
def test_a_daemon_file_younger_than_the_daemon(times: tuple[float | None, float | None], expected: bool | None) -> None:
    machine = host(
        environ={"PATH": "/usr/bin"},
        executables=("/usr/bin/docker",),
        files={engines.DAEMON: "{}", "/run/docker.pid": "77"},
        nodes={
            engines.DAEMON: Node(mode=0o644, gid=0, changed=times[0]),
            "/run/docker.pid": Node(mode=0o644, gid=0, changed=times[1]),
        },
    )
    docker = engines.PROBE.read(machine, None).docker
    assert docker
    assert docker.restart_due is expected


def test_a_daemon_file_that_is_no_json() -> None:
    machine = host(environ={"PATH": "/usr/bin"}, executables=("/usr/bin/docker",), files={engines.DAEMON: "{oops"})
    docker = engines.PROBE.read(machine, None).docker
    assert docker
    assert docker.fault


def test_pip_settings_in_the_order_they_count() -> None:
    machine = host(
        environ={"HOME": "/h", "PIP_NO_INDEX": "1", "PIP_TOKEN": "x"},
        files={
            "/h/.config/pip/pip.conf": "[global]\nindex-url = https://ann:secret@example.org/simple\n",
            "/etc/pip.conf": "[install]\nconstraint = /c.txt\n[list]\nindex-url = https://no.example.org\n",
        },
    )
    pip = pip_settings.PROBE.read(machine, None).pip
    assert pip
    assert [(each.name, each.source) for each in pip.settings] == [
        ("no-index", "PIP_NO_INDEX"),
        ("index-url", "/h/.config/pip/pip.conf"),
        ("constraint", "/etc/pip.conf"),
    ]
    assert "secret" not in pip.settings[1].value
    assert pip.missing == ("/c.txt",)


def test_state_of_an_environment() -> None:
    record = (
        "torch/a.py,sha256=x,1\ntorch/lib/libc10.so,sha256=x,10\ntorch/lib/libtorch.so,sha256=x,20\ntorch/b.so,x,3\n"
    )
    machine = host(
        environ={"PWD": "/home/me/train"},
        files={
            f"{SITE}/torch-2.8.0.dist-info/RECORD": record,
            f"{SITE}/torch/lib/libc10.so": "",
            f"{SITE}/torch/lib/libtorch.so": "",
            f"{SITE}/triton-3.4.0.dist-info/METADATA": "",
            "/home/me/train/torch.py": "",
            "/e/pyvenv.cfg": "home = /opt/gone/bin\n",
        },
        nodes={
            f"{SITE}/torch/lib/libc10.so": Node(mode=0o644, gid=0, size=10),
            f"{SITE}/torch/lib/libtorch.so": Node(mode=0o644, gid=0, size=7),
        },
        folders=(f"{SITE}/~orch",),
    )
    packages = (Package(name="torch", version="2.8.0", installer="pip"), Package(name="triton", version="3.4.0"))
    assert installation.leftovers(machine, PLACE) == ("~orch",)
    assert installation.without_record(machine, PLACE, packages) == ("triton",)
    assert installation.damaged(machine, PLACE) == (f"{SITE}/torch/lib/libtorch.so", f"{SITE}/torch/b.so")
    assert installation.home_missing(machine, PLACE) == "/opt/gone/bin"
    assert installation.headers(machine, PLACE) is False
    assert installation.local_modules(machine) == ("/home/me/train/torch.py",)


def test_a_source_tree_hides_nothing() -> None:
    machine = host(
        environ={"PWD": "/home/me/train"},
        files={"/home/me/train/pyproject.toml": "", "/home/me/train/torch/__init__.py": ""},
    )
    assert installation.local_modules(machine) == ()


def test_extensions() -> None:
    folder = f"{SITE}/flash_attn-2.8.3.dist-info"
    url = '{"url": "https://example.org/flash_attn-2.8.3%2Bcu12torch2.6cxx11abiTRUE-cp312-cp312-linux_x86_64.whl"}'
    machine = host(
        files={f"{folder}/direct_url.json": url, f"{SITE}/bitsandbytes/libbitsandbytes_cuda124.so": ""},
    )
    flash, bits = installation.extensions(
        machine,
        PLACE,
        (
            Package(name="flash-attn", version="2.8.3", location=SITE),
            Package(name="bitsandbytes", version="0.45.0", location=SITE),
        ),
    )
    assert flash.tags == "flash_attn-2.8.3+cu12torch2.6cxx11abiTRUE-cp312-cp312-linux_x86_64"
    assert bits.cuda_builds == ("124",)


def test_the_cxx_library_that_an_extension_would_be_loaded_with() -> None:
    library, of_system, of_conda = (
        f"{SITE}/selective_scan_cuda.so",
        "/usr/lib64/libstdc++.so.6",
        "/env/lib/libstdc++.so.6",
    )
    machine = host(
        files={of_system: "", of_conda: ""},
        elfs={
            library: ElfFacts(glibcxx_needed="3.4.32"),
            of_system: ElfFacts(glibcxx_defined="3.4.25"),
            of_conda: ElfFacts(glibcxx_defined="3.4.33"),
        },
    )
    mamba = (Package(name="mamba-ssm", version="2.2.4", location=SITE),)

    def seen(place: Place) -> tuple[str | None, ...]:
        (one,) = installation.extensions(machine, place, mamba)
        return one.glibcxx, one.libstdcxx, one.libstdcxx_version

    assert seen(PLACE) == ("3.4.32", of_system, "3.4.25")
    assert seen(replace(PLACE, manager="conda", prefix="/env")) == ("3.4.32", of_conda, "3.4.33")


LOG = "[ 1.2] NVRM: Xid (PCI:0000:01:00): 79, pid=7, GPU has fallen off the bus.\n"


def test_surroundings_of_a_driver() -> None:
    library = "/usr/lib/x86_64-linux-gnu/libcuda.so.1"
    machine = host(
        environ={"LD_LIBRARY_PATH": "/opt/old"},
        files={"/proc/devices": "195 nvidia\n508 nvidia-uvm\n", library: "", "/opt/old/libcuda.so.1": ""},
        commands={"/bin/sh -c dmesg | grep -F NVRM": Completed(returncode=0, stdout=LOG, stderr="")},
    )
    driver = Driver(module_loaded=True, device_nodes=("/dev/nvidia0", "/dev/nvidia-nvswitchctl"))
    gaps = Gaps("nvidia")
    told = nvidia_services.complete(machine, driver, gaps, bare=True)
    assert (told.uvm, told.modprobe, told.nvswitch, told.fabric_manager) == (True, False, True, False)
    assert told.copies == (library,)
    assert told.xids
    assert [(each.code, each.bus_id) for each in told.xids] == [(79, "0000:01:00.0")]
    assert gaps.found == []


def test_a_log_that_may_not_be_read_is_unknown() -> None:
    answer = Completed(returncode=1, stdout="", stderr="dmesg: read kernel buffer failed: Operation not permitted")
    machine = host(commands={"/bin/sh -c dmesg | grep -F NVRM": answer})
    gaps = Gaps("nvidia")
    assert nvidia_services.complete(machine, Driver(module_loaded=True), gaps, bare=True).xids is None
    assert [(each.fact, each.kind) for each in gaps.found] == [("driver.xids", "denied")]


def test_device_files_name_their_group() -> None:
    machine = host(
        environ={"USER": "ann"},
        devices=("/dev/kfd",),
        files={"/etc/group": "render:x:109:ann\n"},
        nodes={"/dev/kfd": Node(mode=0o660, gid=109, refused="EACCES")},
    )
    (file,) = device_files.describe(machine, ("/dev/kfd", "/dev/dri/renderD128"))
    assert (file.path, file.group, file.member, file.refused) == ("/dev/kfd", "render", True, "EACCES")
    assert accelerators.PROBE.read(machine, None).devices == (file,)


def test_limits_and_kills() -> None:
    limits = "Max open files            256                  4096                 files\n"
    machine = host(
        files={
            "/proc/meminfo": MEMINFO,
            "/proc/self/limits": limits,
            "/proc/vmstat": "oom_kill 3\n",
            "/sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
        }
    )
    told = memory.PROBE.read(machine, None).memory
    assert told
    assert told.limits
    assert (told.limits.open_files, told.oom_kills, told.huge_pages) == (256, 3, "madvise")


def test_compilers_and_the_toolkits_limit() -> None:
    home = "/usr/local/cuda-12.4"
    machine = host(
        environ={"PATH": "/usr/bin"},
        executables=("/usr/bin/x86_64-linux-gnu-gcc-14", f"{home}/bin/nvcc"),
        links={"/usr/bin/gcc": "x86_64-linux-gnu-gcc-14", "/usr/local/cuda": home},
        files={f"{home}/version.json": "{}", f"{home}/include/crt/host_config.h": "#if __GNUC__ > 13\n"},
    )
    told = toolkits.PROBE.read(machine, None)
    assert [(kit.path, kit.gcc_limit) for kit in told.toolkits] == [(home, 13)]
    assert told.compilers
    assert [(each.name, each.version) for each in told.compilers] == [("gcc", 14)]


def test_variables_that_lead_nowhere() -> None:
    environ = {"SSL_CERT_FILE": "/gone.pem", "CUDA_HOME": "/usr", "LD_PRELOAD": "/usr/a.so:/gone.so"}
    told = variables.PROBE.read(host(environ=environ, files={"/usr/a.so": ""}), None).variables
    assert {each.name: each.missing for each in told} == {
        "CUDA_HOME": None,
        "LD_PRELOAD": "/gone.so",
        "SSL_CERT_FILE": "/gone.pem",
    }


def test_settings_of_wsl() -> None:
    machine = host(
        environ={"WSL_DISTRO_NAME": "Ubuntu"},
        files={"/mnt/c/Users/ann/.wslconfig": "[wsl2]\nmemory=8GB\nswap=4\nnetworkingMode=mirrored\n"},
        folders=("/mnt/c/Users/Public",),
        spaces={"/mnt/c": Space(total_bytes=100, free_bytes=7, device=9)},
    )
    told, _ = wsl.read(machine, "5.15.167.4-microsoft-standard-WSL2", Gaps("system"))
    assert told
    assert told.settings
    assert [(each.name, each.value) for each in told.settings] == [
        ("wsl2.memory", "8GB"),
        ("wsl2.networkingmode", "mirrored"),
    ]
    assert (told.settings_faults, told.drive_free_bytes) == (("swap=4",), 7)


def test_macos_and_rosetta() -> None:
    machine = host(
        system="Darwin",
        files={"/System/Library/CoreServices/SystemVersion.plist": "<key>ProductVersion</key><string>13.6</string>"},
        commands={"/usr/sbin/sysctl -n sysctl.proc_translated": Completed(returncode=0, stdout="1\n", stderr="")},
    )
    told = platforms.describe(machine, System(os="macos", machine="x86_64"))
    assert (told.distribution_version, told.translated) == ("13.6", True)
