"""Which tables there are, and how their rows are told apart."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from envdoctor.knowledge.load import Knowledge, read
from envdoctor.knowledge.tables import Row
from envdoctor.model import Record


class Entry(NamedTuple):
    """A table: the attribute of Knowledge with its rows, the fields that name a row, and the most telling others."""

    attribute: str
    key: tuple[str, ...]
    columns: tuple[str, ...]


CATALOGUE = {
    "architectures": Entry(
        "architectures", ("capability",), ("name", "first_cuda", "last_cuda", "first_driver", "last_driver")
    ),
    "bitsandbytes": Entry("bitsandbytes_releases", ("version",), ("torch", "requires_python")),
    "bitsandbytes_builds": Entry(
        "bitsandbytes_builds", ("version", "platform", "cuda_first"), ("cuda_last", "capabilities")
    ),
    "bitsandbytes_hardware": Entry(
        "bitsandbytes_hardware", ("first",), ("last", "capability_min", "int8_capability_min", "cuda_first")
    ),
    "conda_forge_pytorch": Entry("conda_builds", ("first",), ("pytorch", "cuda", "cuda_windows")),
    "cuda_compat": Entry("cuda_compat", ("cuda",), ("drivers",)),
    "cuda_compat_bases": Entry("cuda_compat_bases", ("cuda",), ("branches",)),
    "cuda_errors": Entry("cuda_errors", ("code",), ("name",)),
    "cuda_families": Entry("cuda_families", ("cuda",), ("linux", "windows")),
    "cuda_images": Entry("cuda_images", ("tag",), ("ubuntu", "flavour")),
    "cuda_toolkit_pypi": Entry("cuda_toolkit_packages", ("version",), ()),
    "cuda_toolkits": Entry(
        "cuda_toolkits", ("version",), ("release", "driver_linux", "driver_windows", "branch", "bundles_driver")
    ),
    "cudnn": Entry("cudnn_support", ("first", "cuda"), ("last", "capability_min", "driver_linux", "driver_windows")),
    "cudnn_libraries": Entry("cudnn_libraries", ("major",), ("sonames",)),
    "cudnn_packages": Entry("cudnn_packages", ("package", "version"), ("cuda",)),
    "driver_branches": Entry("driver_branches", ("branch",), ("cuda", "first")),
    "flash_attn": Entry("flash_attention", ("generation",), ("capability_min", "cuda_min", "torch_min", "gpus")),
    "forward_compatibility": Entry("forward_compatibility", ("topic",), ("works", "fails")),
    "framework_images": Entry("framework_images", ("tag",), ("framework", "version", "cuda", "flavour")),
    "gpus": Entry("gpus", ("vendor", "name"), ("capability", "target", "memory_gib", "kind")),
    "image_digests": Entry("image_digests", ("tag",), ("digest",)),
    "jax": Entry("jax_releases", ("version",), ("released", "requires_python", "numpy", "extras")),
    "mirrors": Entry("mirrors", ("mirror", "kind"), ("url",)),
    "onnxruntime_cuda": Entry("onnxruntime_cuda", ("first",), ("last", "cuda", "cudnn_linux", "cudnn_windows")),
    "onnxruntime_gpu": Entry("onnxruntime_releases", ("version",), ("requires_python", "cuda", "cudnn")),
    "other_indexes": Entry("other_indexes", ("url",), ("holds",)),
    "pip_indexes": Entry("pip_indexes", ("tag",), ("kind", "driver_linux", "driver_windows", "url")),
    "pytorch_channel": Entry("pytorch_channel", ("first",), ("last", "package", "cuda", "channels")),
    "rocm": Entry("rocm_indexes", ("tag",), ("targets",)),
    "tensorflow": Entry(
        "tensorflow_releases", ("version",), ("tested_pythons", "cuda", "cudnn", "keras_major", "windows_gpu", "glibc")
    ),
    "tensorrt": Entry("tensorrt_releases", ("version",), ("cuda", "added", "dropped", "cudnn", "capability_min")),
    "torch": Entry(
        "torch_releases", ("version",), ("released", "python_min", "python_max", "default_linux", "torchvision", "rocm")
    ),
    "torch_pins": Entry("torch_pins", ("version",), ("variant", "cuda", "pins")),
    "transformers": Entry("transformers_releases", ("version",), ("requires_python", "torch")),
    "ubuntu": Entry("ubuntu_releases", ("version",), ("glibc", "python")),
    "vllm": Entry("vllm_releases", ("version",), ("torch", "requires_python", "xformers", "transformers", "glibc")),
    "vllm_hardware": Entry("vllm_hardware", ("first",), ("last", "capability_min", "cuda")),
    "xformers": Entry("xformers_releases", ("version",), ("torch", "requires_python", "glibc", "capability_min")),
}


class Summary(NamedTuple):
    """A table at a glance; dates are ISO dates of when its rows were checked."""

    name: str
    title: str
    rows: int
    newest: str
    oldest: str
    doubtful: int


def summary(table: str) -> Summary:
    """Count a table's rows and find when they were checked, without decoding more of them than that."""
    found = read(table)
    rows = [msgspec.json.decode(each, type=Row) for each in found.rows]
    dates = [row.checked for row in rows]
    return Summary(table, found.title, len(rows), max(dates), min(dates), sum(row.doubt is not None for row in rows))


def rows_of(facts: Knowledge, table: str) -> tuple[Row, ...]:
    """Give the rows of a table, in its own order."""
    rows: tuple[Row, ...] = getattr(facts, CATALOGUE[table].attribute)
    return rows


def key_of(table: str, row: Row) -> tuple[str, ...]:
    """Give the words that name a row: ("2.7.1",), ("nvidia", "NVIDIA GeForce RTX 3060")."""
    values = (getattr(row, name) for name in CATALOGUE[table].key)
    return tuple(" ".join(value) if isinstance(value, tuple) else str(value) for value in values)


def rows_named(facts: Knowledge, table: str, name: str) -> tuple[Row, ...]:
    """Find the rows that a person named by their whole key or one word of it; case does not matter."""
    wanted = name.lower()
    found = []
    for row in rows_of(facts, table):
        words = [word.lower() for word in key_of(table, row)]
        if wanted in words or wanted == " ".join(words):
            found.append(row)
    return tuple(found)


def names_of(facts: Knowledge, table: str) -> tuple[str, ...]:
    """Give the shortest words that name each row: the end of its key where that is enough."""
    keys = [key_of(table, row) for row in rows_of(facts, table)]
    last = tuple(key[-1] for key in keys)
    return last if len({*last}) == len(last) else tuple(" ".join(key) for key in keys)


def doubts_of(value: Record) -> tuple[tuple[str, str], ...]:
    """Give every doubt that a row carries and what it is of: ("", "...") is of the row, ("cuda", "...") of that field.

    Parts of a row, such as the builds of a release, carry doubts of their own; they are named by their first field.
    """
    found = []
    for name in value.__struct_fields__:
        held = getattr(value, name)
        if name.endswith("_doubts"):
            found += list(held.items())
            continue
        if name.endswith("doubt"):
            found += [(name.removesuffix("doubt").strip("_"), held)] if held else []
            continue
        for part in held if isinstance(held, tuple) else (held,):
            if isinstance(part, Record):
                whose = getattr(part, part.__struct_fields__[0]) if isinstance(held, tuple) else name
                found += [(f"{whose} {what}".strip(), doubt) for what, doubt in doubts_of(part)]
    return tuple(found)


def near(name: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """Give up to four of the known names that look most like a mistyped one."""
    import difflib

    plain = {each.lower(): each for each in known}
    wanted = name.lower()
    holding = sorted((each for each in plain if wanted in each), key=len)
    alike = difflib.get_close_matches(wanted, plain, n=4, cutoff=0.5)
    return tuple(plain[each] for each in dict.fromkeys((*holding, *alike)))[:4]
