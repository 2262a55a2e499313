from __future__ import annotations

import pytest

from envdoctor import errors
from envdoctor.app import verifying
from envdoctor.host.recorded import RecordedHost, Recording

MEMINFO = "MemTotal: 16777216 kB\nMemAvailable: 8388608 kB\nSwapTotal: 0 kB\n"


def test_a_workload_may_hold_most_of_what_is_free() -> None:
    host = RecordedHost(Recording(files={"/proc/meminfo": MEMINFO}))
    assert verifying.memory_cap(host) == int(0.9 * (8 << 30))


def test_a_limit_below_that_counts() -> None:
    files = {"/proc/meminfo": MEMINFO, "/proc/self/cgroup": "0::/", "/sys/fs/cgroup/memory.max": str(2 << 30)}
    assert verifying.memory_cap(RecordedHost(Recording(files=files))) == int(0.9 * (2 << 30))


def test_what_others_hold_in_the_same_group_is_not_free() -> None:
    files = {"/proc/meminfo": MEMINFO, "/proc/self/cgroup": "0::/", "/sys/fs/cgroup/memory.max": str(2 << 30)}
    files["/sys/fs/cgroup/memory.current"] = str(1536 << 20)
    assert verifying.free_memory(RecordedHost(Recording(files=files))) == 512 << 20
    files["/sys/fs/cgroup/memory.current"] = "lots"
    assert verifying.free_memory(RecordedHost(Recording(files=files))) == 2 << 30


def test_a_machine_that_does_not_say_sets_no_cap() -> None:
    assert verifying.memory_cap(RecordedHost(Recording())) is None
    assert verifying.memory_cap(RecordedHost(Recording(errors={"/proc/meminfo": "denied"}))) is None


def test_no_python_at_all() -> None:
    with pytest.raises(errors.Unreadable, match="no Python was found"):
        verifying.target_of(RecordedHost(Recording()), None, None)


def test_a_conda_environment_is_taken_by_its_folder() -> None:
    host = RecordedHost(Recording(files={"/c/conda-meta/history": ""}, executables=("/c/bin/python",)))
    assert verifying.target_of(host, None, "/c").executable == "/c/bin/python"
