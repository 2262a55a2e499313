"""Linux machines as their files show them, cut down to what the probes of the machine read."""

from __future__ import annotations

from typing import Any

import msgspec

from envdoctor.host import Space
from envdoctor.host.recorded import RecordedHost, Recording

GIB = 1 << 30

XEON = """\
processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 143
model name\t: Intel(R) Xeon(R) Gold 6430
stepping\t: 8
flags\t\t: fpu vme sse sse2 ht syscall nx lm fma sse4_2 avx f16c rdrand avx2 avx512f avx512_bf16 avx_vnni avx512_vnni \
amx_bf16 amx_tile amx_int8
bugs\t\t: spectre_v1

processor\t: 1
vendor_id\t: GenuineIntel
model name\t: Intel(R) Xeon(R) Gold 6430
flags\t\t: fpu vme sse sse2
"""
GUEST = XEON.replace("flags\t\t: fpu", "flags\t\t: hypervisor fpu")

JETSON_CPU = """\
processor\t: 0
model name\t: ARMv8 Processor rev 1 (v8l)
BogoMIPS\t: 62.50
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd42
CPU revision\t: 1
"""

MEMINFO = """\
MemTotal:       65536000 kB
MemFree:         1024000 kB
MemAvailable:   32768000 kB
SwapTotal:       2097152 kB
SwapFree:        2097152 kB
HugePages_Total:       0
"""

UBUNTU = """\
PRETTY_NAME="Ubuntu 22.04.5 LTS"
NAME="Ubuntu"
VERSION_ID="22.04"
VERSION="22.04.5 LTS (Jammy Jellyfish)"
ID=ubuntu
ID_LIKE=debian
"""
DEBIAN = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nNAME="Debian GNU/Linux"\nVERSION_ID="12"\nID=debian\n'
FEDORA = (
    'NAME="Fedora Linux"\nVERSION="41 (Workstation Edition)"\nID=fedora\nVERSION_ID=41\nPRETTY_NAME="Fedora Linux 41"\n'
)
ALPINE = 'NAME="Alpine Linux"\nID=alpine\nVERSION_ID=3.21.3\nPRETTY_NAME="Alpine Linux v3.21"\n'

CGROUP2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
ROOT_SDA2 = "29 1 8:2 / / rw,relatime shared:1 - ext4 /dev/sda2 rw,errors=remount-ro\n"

SDA = "/sys/devices/pci0000:00/0000:00:17.0/ata1/host0/target0:0:0/0:0:0:0/block/sda"
NVME = "/sys/devices/pci0000:00/0000:00:1d.0/0000:02:00.0/nvme/nvme0/nvme0n1"


def host(base: Recording, **changes: Any) -> RecordedHost:
    """Give a host of that recording; dicts are added to, everything else is replaced."""
    merged = {
        name: {**getattr(base, name), **value} if isinstance(value, dict) else value for name, value in changes.items()
    }
    return RecordedHost(msgspec.structs.replace(base, **merged))


def without(base: Recording, *paths: str) -> Recording:
    """Give the recording without these files."""
    return msgspec.structs.replace(base, files={path: text for path, text in base.files.items() if path not in paths})


UBUNTU_METAL = Recording(
    release="6.8.0-51-generic",
    libc=("glibc", "2.35"),
    affinity=64,
    environ={"HOME": "/home/ann", "PATH": "/usr/bin"},
    files={
        "/etc/os-release": UBUNTU,
        "/proc/cpuinfo": XEON,
        "/proc/meminfo": MEMINFO,
        "/proc/1/cgroup": "0::/init.scope\n",
        "/proc/self/cgroup": "0::/user.slice/user-1000.slice/session-2.scope\n",
        "/proc/self/mountinfo": ROOT_SDA2 + CGROUP2,
        "/sys/devices/system/cpu/online": "0-63\n",
        "/sys/class/dmi/id/sys_vendor": "Dell Inc.\n",
        "/sys/class/dmi/id/product_name": "PowerEdge R760\n",
        f"{SDA}/queue/rotational": "0\n",
        f"{SDA}/sda2/partition": "2\n",
    },
    links={"/sys/dev/block/8:2": f"{SDA}/sda2"},
    binaries={
        "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c": b"\x06\0\0\0\x01",
    },
    folders=("/dev/shm", "/home/ann", "/tmp"),
    spaces={
        "/": Space(total_bytes=900 * GIB, free_bytes=400 * GIB, device=0x802),
        "/dev/shm": Space(total_bytes=32 * GIB, free_bytes=32 * GIB, device=0x1B),
    },
)
DEBIAN_GUEST = Recording(
    release="6.1.0-28-amd64",
    libc=("glibc", "2.36"),
    affinity=4,
    environ={"HOME": "/root"},
    files={
        "/etc/os-release": DEBIAN,
        "/proc/cpuinfo": GUEST,
        "/proc/meminfo": MEMINFO,
        "/proc/1/cgroup": "0::/init.scope\n",
        "/proc/self/cgroup": "0::/\n",
        "/proc/self/mountinfo": "22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n" + CGROUP2,
        "/sys/class/dmi/id/sys_vendor": "QEMU\n",
        "/sys/class/dmi/id/product_name": "Standard PC (Q35 + ICH9, 2009)\n",
    },
    links={"/sys/dev/block/254:1": "/sys/devices/pci0000:00/0000:00:05.0/virtio2/block/vda/vda1"},
    folders=("/sys/devices/pci0000:00/0000:00:05.0/virtio2/block/vda/vda1", "/root", "/tmp"),
    spaces={"/": Space(total_bytes=100 * GIB, free_bytes=60 * GIB, device=0xFE01)},
)
WSL2 = Recording(
    release="5.15.167.4-microsoft-standard-WSL2",
    libc=("glibc", "2.35"),
    affinity=16,
    environ={"HOME": "/home/ann", "WSL_DISTRO_NAME": "Ubuntu-22.04"},
    files={
        "/etc/os-release": UBUNTU,
        "/etc/wsl.conf": "[boot]\nsystemd=true\n",
        "/proc/cpuinfo": GUEST,
        "/proc/meminfo": MEMINFO,
        "/proc/1/cgroup": "0::/init.scope\n",
        "/proc/sys/fs/binfmt_misc/WSLInterop": "enabled\n",
        "/proc/self/mountinfo": (
            "78 66 8:32 / / rw,relatime - ext4 /dev/sdc rw,discard\n"
            "97 78 0:53 / /mnt/c rw,noatime - 9p C:\\134 rw,dirsync,aname=drvfs;path=C:\\134;uid=1000\n"
        ),
        "/run/systemd/container": "wsl\n",
        "/usr/lib/wsl/lib/libcuda.so.1": "",
        "/usr/lib/wsl/lib/libnvidia-ml.so.1": "",
        "/usr/lib/wsl/lib/libdxcore.so": "",
    },
    binaries={"/etc/ld.so.cache": b"glibc-ld.so.cache1.1\0libcuda.so.1\0/usr/lib/wsl/lib/libcuda.so.1\0"},
    devices=("/dev/dxg",),
    folders=("/home/ann", "/tmp", "/mnt/c/data", "/sys/dev/block/8:32"),
    spaces={
        "/": Space(total_bytes=1000 * GIB, free_bytes=900 * GIB, device=0x820),
        "/mnt/c": Space(total_bytes=500 * GIB, free_bytes=50 * GIB, device=0x35),
    },
)
DOCKER_ROOT = (
    "733 600 0:51 / / rw,relatime - overlay overlay rw,lowerdir=/var/lib/docker/overlay2/l/AB,"
    "upperdir=/var/lib/docker/overlay2/9f/diff,workdir=/var/lib/docker/overlay2/9f/work\n"
    "750 733 8:2 /var/lib/docker/containers/9f2c/resolv.conf /etc/resolv.conf rw,relatime - ext4 /dev/sda2 rw\n"
    "751 733 8:2 /var/lib/docker/containers/9f2c/hostname /etc/hostname rw,relatime - ext4 /dev/sda2 rw\n"
)
DOCKER_GROUPS = "12:memory:/docker/9f2c\n4:cpu,cpuacct:/docker/9f2c\n0::/system.slice/containerd.service\n"
DOCKER_CGROUP1 = Recording(
    release="5.4.0-200-generic",
    libc=("glibc", "2.35"),
    affinity=64,
    environ={"HOME": "/root"},
    files={
        "/.dockerenv": "",
        "/etc/os-release": UBUNTU,
        "/proc/cpuinfo": XEON,
        "/proc/meminfo": MEMINFO,
        "/sys/devices/system/cpu/online": "0-63\n",
        "/proc/1/cgroup": DOCKER_GROUPS,
        "/proc/self/cgroup": DOCKER_GROUPS,
        "/proc/self/mountinfo": DOCKER_ROOT
        + "740 738 0:28 /docker/9f2c /sys/fs/cgroup/cpu,cpuacct ro,nosuid - cgroup cgroup rw,cpu,cpuacct\n"
        + "741 738 0:29 /docker/9f2c /sys/fs/cgroup/memory ro,nosuid - cgroup cgroup rw,memory\n",
        "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "250000\n",
        "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes": "8589934592\n",
    },
    folders=("/dev/shm", "/root", "/tmp"),
    spaces={
        "/": Space(total_bytes=900 * GIB, free_bytes=400 * GIB, device=0x33),
        "/dev/shm": Space(total_bytes=64 << 20, free_bytes=64 << 20, device=0x40),
    },
)
JETSON = Recording(
    release="5.15.148-tegra",
    machine="aarch64",
    libc=("glibc", "2.35"),
    affinity=12,
    files={
        "/etc/os-release": UBUNTU,
        "/etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n",
        "/proc/device-tree/model": "NVIDIA Jetson AGX Orin Developer Kit\0",
        "/proc/cpuinfo": JETSON_CPU,
        "/proc/meminfo": MEMINFO,
        "/proc/1/cgroup": "0::/init.scope\n",
        "/proc/self/mountinfo": "24 1 179:1 / / rw,relatime shared:1 - ext4 /dev/mmcblk0p1 rw\n",
        "/sys/devices/system/cpu/online": "0-11\n",
        "/sys/devices/platform/mmc/block/mmcblk0/queue/rotational": "0\n",
        "/sys/devices/platform/mmc/block/mmcblk0/mmcblk0p1/partition": "1\n",
    },
    links={"/sys/dev/block/179:1": "/sys/devices/platform/mmc/block/mmcblk0/mmcblk0p1"},
    folders=("/tmp",),
    spaces={"/": Space(total_bytes=57 * GIB, free_bytes=20 * GIB, device=0xB301)},
)
