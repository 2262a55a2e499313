from __future__ import annotations

from typing import Any

import pytest
from expecting import fires, silent, variables
from machines import GIB, changed, container, env, gpu, package, torch, windows, workstation

from envdoctor.model.snapshot import (
    Cpu,
    DeviceFile,
    Disk,
    Framework,
    Limits,
    Memory,
    Pip,
    Setting,
    Snapshot,
    Variable,
)


def set_to(**values: str) -> Snapshot:
    return workstation(variables=variables(**values))


def test_debug_switches() -> None:
    fires("ENV004", set_to(CUDA_LAUNCH_BLOCKING="1"), "warning", "unset CUDA_LAUNCH_BLOCKING")
    silent("ENV004", set_to(CUDA_LAUNCH_BLOCKING="0"), workstation())
    bare = changed(set_to(CUDA_FORCE_PTX_JIT="1"), pythons=(env(torch(archs=("sm_86",))),))
    fires("ENV005", bare, "error", "nothing else")
    fires("ENV005", set_to(CUDA_FORCE_PTX_JIT="1"), "warning")
    fires("ENV005", set_to(CUDA_CACHE_DISABLE="1"), "note")
    silent("ENV005", workstation(), set_to(CUDA_FORCE_PTX_JIT="0"))


def test_allocator() -> None:
    fires("ENV006", set_to(PYTORCH_CUDA_ALLOC_CONF="expandable_segments"), "warning", "key:value")
    two = set_to(PYTORCH_ALLOC_CONF="backend:native", PYTORCH_CUDA_ALLOC_CONF="expandable_segments:True")
    fires("ENV006", two, "warning", "different values")
    silent(
        "ENV006",
        set_to(PYTORCH_CUDA_ALLOC_CONF="expandable_segments:True,max_split_size_mb:128"),
        set_to(PYTORCH_ALLOC_CONF="roundup_power2_divisions:[256:1,512:2,>:4]"),
        workstation(),
    )


def frameworks(*names: Any, **changes: Any) -> Snapshot:
    built = tuple(Framework(name=name, version="2.20.0", cuda="12", gpu_build=True) for name in names)
    return workstation(pythons=(env(*built),), **changes)


def test_tensorflow_and_jax_switches() -> None:
    fires("ENV007", frameworks("tensorflow", "jax"), "note", "TF_FORCE_GPU_ALLOW_GROWTH=true")
    fires("ENV007", frameworks("tensorflow", gpus=(gpu(display_active=True),)), "note", "display")
    silent(
        "ENV007",
        frameworks("tensorflow"),
        frameworks("tensorflow", "jax", variables=variables(TF_FORCE_GPU_ALLOW_GROWTH="true")),
        workstation(),
    )
    fires("ENV008", frameworks("jax", variables=variables(JAX_PLATFORMS="cpu")), "warning", "unset JAX_PLATFORMS")
    fires("ENV008", frameworks("jax", variables=variables(XLA_PYTHON_CLIENT_ALLOCATOR="platform")), "warning", "slow")
    silent(
        "ENV008",
        frameworks("jax", variables=variables(JAX_PLATFORMS="cuda,cpu")),
        frameworks("jax"),
        set_to(JAX_PLATFORMS="cpu"),
    )


def test_hub_and_preload() -> None:
    fires("ENV010", set_to(HF_HUB_OFFLINE="1"), "note", "HF_HUB_OFFLINE")
    silent("ENV010", set_to(HF_HUB_OFFLINE="0"), workstation())
    gone = workstation(variables=(Variable(name="LD_PRELOAD", value="/x/libjemalloc.so", missing="/x/libjemalloc.so"),))
    fires("ENV011", gone, "warning", "does not exist")
    fires("ENV011", set_to(LD_PRELOAD="/usr/lib/libcudart.so.12"), "warning", "libcudart")
    silent("ENV011", set_to(LD_PRELOAD="/usr/lib/libjemalloc.so.2"), workstation())


def memory(**changes: Any) -> Memory:
    return Memory(total_bytes=64 * GIB, available_bytes=56 * GIB, swap_bytes=8 * GIB, **changes)


def test_memory_and_limits() -> None:
    fires("MEM003", workstation(memory=memory(oom_kills=2)), "warning", "2 processes", slug="host-out-of-memory")
    fires("MEM003", container(memory=memory(oom_kills=1, limit_bytes=8 * GIB)), "warning", "this container")
    silent("MEM003", workstation(memory=memory(oom_kills=0)), workstation())
    for machine, file, words in (
        (workstation(), "/sys/fs/cgroup/user.slice/memory.events", "one process of this cgroup"),
        (workstation(), "/proc/vmstat", "since the machine started"),
        (container(), "/sys/fs/cgroup/memory/memory.oom_control", "since this container started"),
        (container(), "/proc/vmstat", "since the machine started"),
    ):
        counted = changed(machine, memory=memory(oom_kills=1), origins={"memory.oom_kills": file})
        fires("MEM003", counted, "warning", words)
    fires(
        "MEM004", workstation(memory=memory(limits=Limits(open_files=256))), "warning", "256 files", "ulimit -n 65536"
    )
    few = container(memory=memory(limits=Limits(processes=100)), cpu=Cpu(logical=16))
    fires("MEM004", few, "warning", "100 processes", "--pids-limit -1")
    silent("MEM004", workstation(memory=memory(limits=Limits(open_files=1024, processes=96365))), workstation())
    rdma = (DeviceFile(path="/dev/infiniband/uverbs0"),)
    locked = container(memory=memory(limits=Limits(locked_bytes=65536)), devices=rdma)
    fires("CTR014", locked, "warning", "memlock=-1")
    silent("CTR014", changed(locked, devices=()), changed(locked, memory=memory(limits=Limits())))


def test_compiling() -> None:
    wants = (package("transformer-engine", "2.0", requires=("flash-attn>=2",)),)
    machine = workstation(
        pythons=(env(torch(), packages=wants),), memory=Memory(total_bytes=16 * GIB), cpu=Cpu(logical=16)
    )
    fires("MEM005", machine, "note", "MAX_JOBS=4")
    silent(
        "MEM005",
        changed(machine, variables=variables(MAX_JOBS="2")),
        changed(machine, cpu=Cpu(logical=4)),
        workstation(),
    )


def disk(*purposes: str, **changes: Any) -> Snapshot:
    place = Disk(
        path="/x", purposes=purposes, total_bytes=900 * GIB, free_bytes=500 * GIB, kind="nvme", filesystem="ext4"
    )
    return workstation(disks=(changed(place, **changes),))


def test_disks() -> None:
    fires("DISK002", disk("environment", files_total=10**6, files_free=100), "warning", "100 further files")
    empty = changed(disk("environment", files_total=10**6, files_free=100), pythons=(env(packages=()),))
    fires("DISK002", empty, "error")
    silent(
        "DISK002",
        disk("environment", files_total=0, files_free=0),
        disk("environment", files_total=10**6, files_free=10**6),
    )
    fires("DISK004", disk("environment", kind="network", filesystem="nfs4"), "warning", "nfs4")
    silent("DISK004", disk("home", kind="network", filesystem="nfs4"), disk("environment"))
    tmp = changed(disk("temporary", free_bytes=10**8), pythons=(env(packages=()),))
    fires("DISK006", tmp, "error", "0.1 GB")
    noexec = changed(disk("temporary", noexec=True), pythons=(env(torch(), packages=(package("triton", "3.4.0"),)),))
    fires("DISK006", noexec, "warning", "noexec")
    silent("DISK006", disk("temporary", free_bytes=10**8), disk("temporary", noexec=True), workstation())
    models = changed(
        disk("models", free_bytes=5 * 10**9), pythons=(env(torch(), packages=(package("transformers", "4.55"),)),)
    )
    fires("DISK007", models, "note", "5.0 GB", "HF_HOME=/large/hf")
    silent("DISK007", disk("models", free_bytes=5 * 10**9), changed(models, disks=disk("models").disks))


def pip(name: str, value: str, *missing: str) -> Pip:
    return Pip(settings=(Setting(name=name, value=value, source="/etc/pip.conf"),), missing=missing)


def test_network_settings() -> None:
    extra = pip("extra-index-url", "https://download.pytorch.org/whl/cu126")
    fires("NET002", workstation(pip=extra), "warning", "/etc/pip.conf")
    silent("NET002", workstation(pip=pip("extra-index-url", "https://example.org")), workstation())
    mirror = pip("index-url", "https://pypi.tuna.tsinghua.edu.cn/simple")
    fires("NET003", windows(pip=mirror), "warning", "--index-url")
    silent("NET003", workstation(pip=mirror), windows(pip=pip("index-url", "https://example.org/simple")), windows())
    gone = workstation(variables=(Variable(name="SSL_CERT_FILE", value="/x.pem", missing="/x.pem"),))
    fires("NET004", gone, "error", "/x.pem", "unset SSL_CERT_FILE")
    silent("NET004", set_to(SSL_CERT_FILE="/etc/ssl/certs/ca.pem"), workstation())
    fires("NET005", set_to(HF_ENDPOINT="hf-mirror.com"), "error", "https://")
    silent("NET005", set_to(HF_ENDPOINT="https://hf-mirror.com"), workstation())
    fires("NET006", workstation(pip=pip("no-index", "true")), "warning", "no-index")
    fires("NET006", workstation(pip=pip("constraint", "/c.txt", "/c.txt")), "error", "/c.txt")
    silent("NET006", workstation(pip=pip("constraint", "/c.txt")), workstation(pip=pip("no-index", "0")), workstation())


@pytest.mark.parametrize("code", ["NET002", "NET006", "MEM003", "DISK002"])
def test_nothing_known_is_nothing_said(code: str) -> None:
    silent(code, Snapshot())
