"""What the probe of the system makes of real machines' files."""

from __future__ import annotations

import pytest
from linux_machines import (
    ALPINE,
    CGROUP2,
    DEBIAN,
    DEBIAN_GUEST,
    DOCKER_CGROUP1,
    DOCKER_ROOT,
    FEDORA,
    JETSON,
    ROOT_SDA2,
    UBUNTU,
    UBUNTU_METAL,
    WSL2,
    host,
    without,
)

from envdoctor.host import Host
from envdoctor.host.recorded import RecordedHost, Recording
from envdoctor.model.snapshot import Snapshot, System, Wsl
from envdoctor.probes.libc import banner, installed
from envdoctor.probes.system import PROBE

SECURE_BOOT = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"


def look(machine: Host) -> System:
    snapshot = PROBE.read(machine, None)
    assert snapshot.gaps == ()
    assert snapshot.system is not None
    return snapshot.system


def kind(machine: Host) -> str | None:
    container = look(machine).container
    return container.kind if container else None


def test_ubuntu_on_metal() -> None:
    assert look(host(UBUNTU_METAL)) == System(
        os="linux",
        distribution="ubuntu",
        distribution_version="22.04",
        name="Ubuntu 22.04.5 LTS",
        kernel="6.8.0-51-generic",
        machine="x86_64",
        libc="glibc",
        libc_version="2.35",
        virtual=False,
        secure_boot=True,
    )


def test_every_fact_says_where_it_was_read() -> None:
    snapshot = PROBE.read(host(UBUNTU_METAL), None)
    shown = snapshot.evidence("system.kernel", "system.name", "system.libc_version", "system.secure_boot")
    assert [(each.value, each.source) for each in shown] == [
        ("6.8.0-51-generic", "uname"),
        ("Ubuntu 22.04.5 LTS", "/etc/os-release"),
        ("2.35", "confstr"),
        ("yes", SECURE_BOOT),
    ]


def test_a_virtual_machine_is_told_by_the_processor() -> None:
    system = look(host(DEBIAN_GUEST))
    assert (system.distribution, system.virtual, system.container, system.secure_boot) == ("debian", True, None, None)


@pytest.mark.parametrize(
    ("maker", "product", "virtual"),
    [
        ("Amazon EC2", "c7g.metal", False),
        ("QEMU", "KVM Virtual Machine", True),
        ("Microsoft Corporation", "Virtual Machine", True),
        ("Dell Inc.", "PowerEdge R760", None),
    ],
)
def test_without_x86_flags_only_the_firmware_tells_of_a_hypervisor(
    maker: str, product: str, virtual: bool | None
) -> None:
    dmi = {"/sys/class/dmi/id/sys_vendor": maker, "/sys/class/dmi/id/product_name": product}
    assert look(host(JETSON, files=dmi)).virtual is virtual


def test_fedora_keeps_os_release_under_usr() -> None:
    machine = host(without(UBUNTU_METAL, "/etc/os-release"), files={"/usr/lib/os-release": FEDORA})
    system = look(machine)
    assert (system.distribution, system.distribution_version, system.name) == ("fedora", "41", "Fedora Linux 41")


def test_alpine_has_musl() -> None:
    alpine = Recording(
        release="6.12.13-0-lts",
        files={
            "/etc/os-release": ALPINE,
            "/lib/ld-musl-x86_64.so.1": "",
            "/lib/apk/db/installed": "C:Q1x\nP:alpine-base\nV:3.21.3-r0\n\nC:Q1y\nP:musl\nV:1.2.5-r9\nA:x86_64\n",
        },
    )
    system = look(RecordedHost(alpine))
    assert (system.distribution, system.libc, system.libc_version) == ("alpine", "musl", "1.2.5")


def test_the_c_library_of_a_mounted_machine_is_told_by_its_files() -> None:
    old = Recording(links={"/lib/x86_64-linux-gnu/libc.so.6": "/lib/x86_64-linux-gnu/libc-2.31.so"})
    old_host = host(old, files={"/lib/x86_64-linux-gnu/libc-2.31.so": ""})
    new = Recording(
        machine="",
        binaries={
            "/usr/lib64/libc.so.6": b"\x7fELF\0GNU C Library (GNU libc) stable release version 2.40.\n\0",
        },
        links={"/lib64": "/usr/lib64", "/lib": "/usr/lib"},
        files={"/usr/lib64/ld-linux-x86-64.so.2": "", "/etc/os-release": FEDORA},
    )
    assert (look(old_host).libc, look(old_host).libc_version) == ("glibc", "2.31")
    seen = look(RecordedHost(new))
    assert (seen.libc, seen.libc_version, seen.machine, seen.kernel) == ("glibc", "2.40", "x86_64", None)


def test_versions_in_files_of_other_forms() -> None:
    assert banner(b"GNU C Library (Ubuntu GLIBC 2.39-0ubuntu8) stable release version 2.39.") == "2.39"
    assert banner(b"\x7fELF\0nothing") is None
    assert installed("P:musl-dev\nV:9.9\n\nP:musl\nV:1.2.4_git20230717-r4\n", "musl") == "1.2.4_git20230717"
    assert installed("P:musl\n\nP:zlib\nV:1.3.1-r2\n", "musl") is None


def test_wsl2_with_the_kernel_of_microsoft() -> None:
    system = look(host(WSL2))
    assert system.container is None
    assert system.virtual is True
    assert system.wsl == Wsl(
        version=2,
        distribution="Ubuntu-22.04",
        dxg=True,
        libraries=("libcuda.so.1", "libdxcore.so", "libnvidia-ml.so.1"),
        on_loader_path=True,
        gpu_enabled=True,
        drive_free_bytes=50 << 30,
    )


def test_wsl1() -> None:
    one = Recording(
        release="4.4.0-19041-Microsoft",
        environ={"WSL_DISTRO_NAME": "Ubuntu"},
        files={"/etc/os-release": UBUNTU, "/proc/1/cgroup": "", "/etc/ld.so.conf": ""},
        binaries={"/etc/ld.so.cache": b"glibc-ld.so.cache1.1\0/lib/x86_64-linux-gnu/libc.so.6\0"},
    )
    assert look(RecordedHost(one)).wsl == Wsl(version=1, distribution="Ubuntu", on_loader_path=False)


@pytest.mark.parametrize(
    ("signs", "source"),
    [
        ({"environ": {"WSL_DISTRO_NAME": "Ubuntu"}, "devices": ("/dev/dxg",)}, "/dev/dxg"),
        ({"environ": {"WSL_DISTRO_NAME": "Ubuntu"}, "folders": ("/usr/lib/wsl/drivers",)}, "/usr/lib/wsl"),
        (
            {"files": {"/proc/sys/fs/binfmt_misc/WSLInterop-late": "enabled"}},
            "/proc/sys/fs/binfmt_misc/WSLInterop-late",
        ),
        ({"folders": ("/run/WSL",)}, "/run/WSL"),
    ],
)
def test_wsl2_with_a_kernel_that_somebody_built(signs: dict[str, object], source: str) -> None:
    snapshot = PROBE.read(host(Recording(release="6.6.36.3-cachyos"), **signs), None)
    assert snapshot.wsl is not None
    assert snapshot.wsl.version == 2
    assert snapshot.evidence("system.wsl.version")[0].source == source


@pytest.mark.parametrize(
    "signs",
    [
        {"environ": {"WSL_DISTRO_NAME": "Ubuntu"}},  # carried over by ssh
        {"devices": ("/dev/dxg",)},  # a Hyper-V guest with a share of the GPU
        {"files": {"/proc/sys/fs/binfmt_misc/python3.10": ""}},
    ],
)
def test_one_sign_alone_is_not_wsl(signs: dict[str, object]) -> None:
    assert look(host(Recording(release="6.8.0-51-generic"), **signs)).wsl is None


def test_the_gpu_may_be_switched_off_and_the_loader_may_not_know_the_folder() -> None:
    machine = host(
        WSL2,
        files={"/etc/wsl.conf": "[gpu]\n# off for now\nenabled = FALSE  # later\n"},
        binaries={"/etc/ld.so.cache": b"\0/lib/x86_64-linux-gnu/libc.so.6\0"},
        devices=(),
    )
    wsl = look(machine).wsl
    assert wsl is not None
    assert (wsl.gpu_enabled, wsl.on_loader_path, wsl.dxg) == (False, False, False)
    by_variable = host(WSL2, binaries={"/etc/ld.so.cache": b""}, environ={"LD_LIBRARY_PATH": "/opt:/usr/lib/wsl/lib/"})
    assert look(by_variable).wsl == look(host(WSL2)).wsl


def test_an_unreadable_loader_cache_leaves_one_fact_unknown() -> None:
    snapshot = PROBE.read(host(WSL2, errors={"/etc/ld.so.cache": "denied"}), None)
    assert [(gap.fact, gap.kind) for gap in snapshot.gaps] == [("system.wsl.on_loader_path", "denied")]
    assert snapshot.wsl is not None
    assert (snapshot.wsl.version, snapshot.wsl.on_loader_path) == (2, None)


def test_a_container_of_docker_desktop_is_both() -> None:
    machine = host(WSL2, files={"/.dockerenv": "", "/proc/self/mountinfo": DOCKER_ROOT}, environ={})
    system = look(machine)
    assert system.container is not None
    assert system.wsl is not None
    assert (system.container.kind, system.wsl.version, system.wsl.dxg) == ("docker", 2, True)


@pytest.mark.parametrize(
    ("signs", "expected"),
    [
        ({"files": {"/.dockerenv": "", "/proc/self/mountinfo": DOCKER_ROOT}}, "docker"),
        ({"files": {"/.dockerenv": ""}}, "docker"),
        ({"files": {"/proc/1/cgroup": "1:name=systemd:/system.slice/docker-0123456789abcdef.scope\n"}}, "docker"),
        ({"files": {"/proc/self/mountinfo": DOCKER_ROOT}}, "docker"),
        ({"files": {"/run/.containerenv": ""}}, "podman"),
        ({"files": {"/proc/1/cgroup": "0::/machine.slice/libpod-77ab.scope/container\n"}}, "podman"),
        ({"files": {"/run/.containerenv": ""}, "environ": {"KUBERNETES_SERVICE_HOST": "10.96.0.1"}}, "kubernetes"),
        (
            {"files": {"/proc/1/cgroup": "0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-5.scope\n"}},
            "kubernetes",
        ),
        (
            {
                "files": {
                    "/proc/self/mountinfo": "9 8 0:9 / / rw - overlay overlay rw\n"
                    "10 9 8:1 /var/lib/kubelet/pods/1-2/etc-hosts /etc/hosts rw - ext4 /dev/sda1 rw\n"
                }
            },
            "kubernetes",
        ),
        ({"files": {"/proc/1/cgroup": "5:memory:/lxc/web1\n"}}, "lxc"),
        ({"files": {"/proc/self/mountinfo": "8 7 0:5 /proc/cpuinfo /proc/cpuinfo rw - fuse.lxcfs lxcfs rw\n"}}, "lxc"),
        ({"environ": {"container": "systemd-nspawn"}}, "other"),
        ({"files": {"/run/systemd/container": "lxc\n"}}, "lxc"),
    ],
)
def test_containers_by_their_marks(signs: dict[str, object], expected: str) -> None:
    base = Recording(release="6.1.0", files={"/etc/os-release": DEBIAN})
    assert kind(host(base, **signs)) == expected


@pytest.mark.parametrize(
    "mounts",
    [
        # A Docker host sees what its containers have mounted.
        ROOT_SDA2
        + "50 29 0:60 / /var/lib/docker/overlay2/ab/merged rw - overlay overlay rw,lowerdir=/var/lib/docker/x\n",
        # A live system has an overlay without a container engine.
        "20 1 0:20 / / rw - overlay overlay rw,lowerdir=/run/live/rootfs,upperdir=/run/live/rw,workdir=/run/live/w\n",
        ROOT_SDA2 + "60 29 0:61 / /var/lib/lxcfs rw - fuse.lxcfs lxcfs rw\n",
    ],
)
def test_what_is_no_container(mounts: str) -> None:
    assert kind(host(UBUNTU_METAL, files={"/proc/self/mountinfo": mounts + CGROUP2})) is None


def test_a_mark_that_came_with_an_image_onto_a_whole_disk_is_no_container() -> None:
    assert kind(host(DEBIAN_GUEST, files={"/.dockerenv": ""})) is None


def test_closed_files_of_init_leave_the_container_unknown() -> None:
    snapshot = PROBE.read(host(UBUNTU_METAL, errors={"/proc/1/cgroup": "denied"}), None)
    assert [(gap.fact, gap.kind, gap.detail) for gap in snapshot.gaps] == [
        ("system.container", "denied", "no permission to read /proc/1/cgroup")
    ]
    assert snapshot.gap("system.container") is not None


def test_closed_files_of_init_do_not_matter_where_another_mark_tells() -> None:
    assert kind(host(DOCKER_CGROUP1, errors={"/proc/1/cgroup": "denied"})) == "docker"


def test_secure_boot_is_off_absent_or_unknown() -> None:
    assert look(host(UBUNTU_METAL, binaries={SECURE_BOOT: b"\x06\0\0\0\0"})).secure_boot is False
    assert look(host(DEBIAN_GUEST)).secure_boot is None
    denied = PROBE.read(host(UBUNTU_METAL, errors={SECURE_BOOT: "denied"}), None)
    damaged = PROBE.read(host(UBUNTU_METAL, binaries={SECURE_BOOT: b"\x06"}), None)
    assert [(gap.fact, gap.kind) for gap in denied.gaps] == [("system.secure_boot", "denied")]
    assert [(gap.fact, gap.kind) for gap in damaged.gaps] == [("system.secure_boot", "not-reported")]
    assert denied.system is not None
    assert denied.system.distribution == "ubuntu"


def test_jetson() -> None:
    system = look(host(JETSON))
    assert (system.jetson, system.machine, system.virtual) == ("NVIDIA Jetson AGX Orin Developer Kit", "aarch64", None)
    hidden = host(without(JETSON, "/proc/device-tree/model"))
    assert look(hidden).jetson == "NVIDIA Jetson"
    board = host(without(JETSON, "/etc/nv_tegra_release"), files={"/proc/device-tree/model": "Raspberry Pi 5\0"})
    assert look(board).jetson is None


@pytest.mark.parametrize(("name", "expected"), [("Darwin", "macos"), ("Windows", "windows"), ("FreeBSD", "other")])
def test_other_systems_tell_what_uname_tells(name: str, expected: str) -> None:
    system = look(RecordedHost(Recording(system=name, release="24.3.0", machine="arm64")))
    assert (system.os, system.kernel, system.machine, system.libc) == (expected, "24.3.0", "arm64", None)


def test_a_hang_is_not_taken_for_absence() -> None:
    snapshot: Snapshot = PROBE.read(host(UBUNTU_METAL, errors={"/etc/os-release": "timeout"}), None)
    assert [(gap.fact, gap.kind) for gap in snapshot.gaps] == [("system.distribution", "timeout")]
