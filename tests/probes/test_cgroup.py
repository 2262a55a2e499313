"""Limits of control groups, whichever way the kernel and the container show them."""

from __future__ import annotations

import pytest
from linux_machines import CGROUP2, DOCKER_CGROUP1, UBUNTU_METAL, host

from envdoctor.host.recorded import RecordedHost, Recording
from envdoctor.probes.cgroup import (
    Granted,
    climb,
    cpu_quota,
    memory_left,
    memory_limit,
    parse_bytes,
    parse_groups,
    parse_share,
)
from envdoctor.probes.mounts import Mount, holding, parse

TOP = "/sys/fs/cgroup"


def version2(group: str, **files: str) -> RecordedHost:
    where = {f"{TOP}{path}": text for path, text in files.items()}
    return RecordedHost(
        Recording(files={"/proc/self/cgroup": f"0::{group}\n", "/proc/self/mountinfo": CGROUP2, **where})
    )


def test_no_limit_anywhere() -> None:
    assert memory_limit(host(UBUNTU_METAL)) is None
    assert cpu_quota(host(UBUNTU_METAL)) is None
    assert memory_limit(RecordedHost(Recording())) is None


def test_the_tightest_of_nested_groups_binds() -> None:
    machine = version2(
        "/user.slice/job.scope",
        **{
            "/user.slice/job.scope/memory.max": "max\n",
            "/user.slice/job.scope/cpu.max": "max 100000\n",
            "/user.slice/memory.max": "17179869184\n",
            "/user.slice/memory.high": "12884901888\n",
            "/user.slice/cpu.max": "350000 100000\n",
            "/cpu.max": "800000 100000\n",
        },
    )
    assert memory_limit(machine) == Granted(12 << 30, f"{TOP}/user.slice/memory.high")
    assert cpu_quota(machine) == Granted(3.5, f"{TOP}/user.slice/cpu.max")


def test_a_container_that_sees_its_own_group_as_the_top() -> None:
    machine = version2("/", **{"/memory.max": "4294967296\n", "/cpu.max": "50000 100000\n"})
    assert memory_limit(machine) == Granted(4 << 30, f"{TOP}/memory.max")
    assert cpu_quota(machine) == Granted(0.5, f"{TOP}/cpu.max")


def test_docker_on_version_1_names_its_group_in_the_terms_of_the_host() -> None:
    machine = host(DOCKER_CGROUP1)
    assert cpu_quota(machine) == Granted(2.5, f"{TOP}/cpu,cpuacct/cpu.cfs_quota_us")
    assert memory_limit(machine) == Granted(8 << 30, f"{TOP}/memory/memory.limit_in_bytes")


def test_both_versions_at_once() -> None:
    mounts = (
        f"31 23 0:29 / {TOP}/memory rw - cgroup cgroup rw,memory\n32 23 0:38 / {TOP}/unified rw - cgroup2 cgroup2 rw\n"
    )
    machine = RecordedHost(
        Recording(
            files={
                "/proc/self/cgroup": "4:memory:/api/a5\n0::/\n",
                "/proc/self/mountinfo": mounts,
                f"{TOP}/memory/api/a5/memory.limit_in_bytes": "9223372036854771712\n",
                f"{TOP}/memory/api/memory.limit_in_bytes": "2147483648\n",
                f"{TOP}/memory/memory.limit_in_bytes": "9223372036854771712\n",
                f"{TOP}/unified/memory.max": "3221225472\n",
            }
        )
    )
    assert memory_limit(machine) == Granted(2 << 30, f"{TOP}/memory/api/memory.limit_in_bytes")


def test_without_a_list_of_mounts_the_usual_folders_are_looked_at() -> None:
    two = RecordedHost(Recording(files={f"{TOP}/memory.max": "1073741824", f"{TOP}/cpu.max": "200000 100000"}))
    one = RecordedHost(
        Recording(
            files={
                f"{TOP}/memory/memory.limit_in_bytes": "1073741824",
                f"{TOP}/cpu/cpu.cfs_quota_us": "-1",
                f"{TOP}/cpu/cpu.cfs_period_us": "100000",
            }
        )
    )
    assert (memory_limit(two), cpu_quota(two)) == (
        Granted(1 << 30, f"{TOP}/memory.max"),
        Granted(2.0, f"{TOP}/cpu.max"),
    )
    assert (memory_limit(one), cpu_quota(one)) == (Granted(1 << 30, f"{TOP}/memory/memory.limit_in_bytes"), None)


def test_unreadable_and_damaged_limits_are_not_taken_for_none() -> None:
    machine = version2("/", **{"/memory.max": "lots\n", "/cpu.max": "100000 0\n"})
    with pytest.raises(ValueError, match="lots"):
        memory_limit(machine)
    with pytest.raises(ValueError, match="period"):
        cpu_quota(machine)
    with pytest.raises(PermissionError):
        memory_limit(host(UBUNTU_METAL, errors={f"{TOP}/memory.max": "denied"}))


@pytest.mark.parametrize(
    ("root", "group", "folders"),
    [
        ("/", "/", (TOP,)),
        ("/", "/a/b", (f"{TOP}/a/b", f"{TOP}/a", TOP)),
        ("/docker/x", "/docker/x/inner", (f"{TOP}/inner", TOP)),
        ("/docker/x", "/docker/xyz", (TOP,)),
        ("/", "/../sibling", (TOP,)),
        ("/../..", "/", (TOP,)),
    ],
)
def test_the_way_up_never_leaves_the_mount(root: str, group: str, folders: tuple[str, ...]) -> None:
    assert climb(TOP, root, group) == folders


def test_lines_that_say_nothing() -> None:
    assert parse_groups("") == {}
    assert parse_groups("garbage\n7:pids:/x:y\n") == {"pids": "/x:y"}
    assert parse_bytes(str(1 << 60)) is None
    assert parse_bytes(str((1 << 60) - 1)) == (1 << 60) - 1
    assert parse_share("0", "100000") is None


def test_mounts_with_blanks_and_the_one_that_covers() -> None:
    mounts = parse(
        "20 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
        "21 20 8:17 / /data rw - ext4 /dev/sdb1 rw\n"
        "22 20 0:40 /@ /data rw shared:9 master:2 - btrfs /dev/my\\040disk rw,subvol=/@\n"
        "broken line\n"
    )
    assert mounts[2] == Mount("0:40", "/@", "/data", "btrfs", "/dev/my disk", "rw,subvol=/@", "rw")
    assert holding("/data/x", mounts) == mounts[2]
    assert holding("/database", mounts) == mounts[0]
    assert holding("/x", ()) is None


def test_what_others_of_the_group_hold_is_not_left() -> None:
    machine = version2(
        "/pod/own",
        **{
            "/pod/own/memory.max": "8589934592\n",
            "/pod/own/memory.current": "1073741824\n",
            "/pod/memory.max": "6442450944\n",
            "/pod/memory.current": "5368709120\n",
            "/pod/memory.stat": "inactive_file 2147483648\nactive_file 536870912\nslab_reclaimable 0\n",
        },
    )
    assert memory_limit(machine) == Granted(6 << 30, f"{TOP}/pod/memory.max")
    # Of the pod's 5 GiB, 2.5 GiB are files that the kernel drops when memory is asked for.
    assert memory_left(machine) == Granted((6 << 30) - (5 << 29), f"{TOP}/pod/memory.max")


def test_nothing_is_left_above_a_limit_and_all_of_it_where_no_use_is_told() -> None:
    over = version2("/", **{"/memory.high": "1073741824\n", "/memory.current": "2147483648\n"})
    assert memory_left(over) == Granted(0, f"{TOP}/memory.high")
    assert memory_left(version2("/", **{"/memory.max": "1073741824\n"})) == Granted(1 << 30, f"{TOP}/memory.max")
    assert memory_left(version2("/")) is None


def test_version_1_tells_use_and_files_in_its_own_words() -> None:
    memory = f"{TOP}/memory"
    files = {
        "/proc/self/cgroup": "4:memory:/job\n",
        "/proc/self/mountinfo": f"31 23 0:29 / {memory} rw - cgroup cgroup rw,memory\n",
        f"{memory}/job/memory.limit_in_bytes": "4294967296\n",
        f"{memory}/job/memory.usage_in_bytes": "3221225472\n",
        f"{memory}/job/memory.stat": "cache 9\ntotal_inactive_file 1073741824\ntotal_active_file 0\n",
        f"{memory}/memory.limit_in_bytes": "9223372036854771712\n",
    }
    left = memory_left(RecordedHost(Recording(files=files)))
    assert left == Granted(2 << 30, f"{memory}/job/memory.limit_in_bytes")


def test_a_use_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="lots"):
        memory_left(version2("/", **{"/memory.max": "1073741824\n", "/memory.current": "lots\n"}))
