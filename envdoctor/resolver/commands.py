"""What a person types to install a stack, with pip and with uv."""

from __future__ import annotations

from msgspec.structs import replace

from envdoctor.model.stack import Stack, UvIndex
from envdoctor.model.version import local


def with_commands(stack: Stack, *, beside: bool = False, mirror: str | None = None) -> Stack:
    """Give the stack with the commands that install exactly its packages.

    `beside`: some of them are on the plain package index, which is then asked too. `mirror`: an index that stands in
    for that one. What has a local tag (2.7.1+cu118) is on PyTorch's index alone, so that no other index can slip
    another build in; without tags that index must be the only one. uv takes a package from the first index that has
    its name, unless it is told to weigh all of them as pip does.
    """
    index, links = stack.index_url, stack.find_links
    tagged = tuple(name for name, version in stack.packages.items() if local(version))
    pip: tuple[str, ...] = ()
    uv: tuple[str, ...] = ()
    if mirror and (tagged or not index):
        pip, uv = ("--index-url", mirror), ("--default-index", mirror)
    if index and (beside or pip):
        pip = (*pip, "--extra-index-url", index)
        uv = (*uv, "--index", index, "--index-strategy", "unsafe-best-match")
    elif index:
        pip, uv = ("--index-url", index), ("--default-index", index)
    elif links:
        pip, uv = (*pip, "--find-links", links), (*uv, "--find-links", links)
    where = index or links
    return replace(
        stack,
        pip_command=("pip", "install", *stack.requirements, *pip),
        uv_command=("uv", "pip", "install", *stack.requirements, *uv),
        uv_index=UvIndex(name=f"pytorch-{stack.variant}", url=where, packages=tagged, flat=index is None)
        if where and tagged
        else None,
    )
