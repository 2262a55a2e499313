"""`wsl --version`, `wsl --status`, `wsl -l -v`, and the form of WSL's issue tracker."""

from __future__ import annotations

import re
from functools import lru_cache

from envdoctor.model.snapshot import Snapshot, System, Wsl
from envdoctor.readers.lines import holding

ORIGIN = "report: wsl"
_LIST = re.compile(
    r"^\s{0,4}\*?\s{0,4}([A-Za-z][\w.-]{1,40})\s{1,40}(?:Running|Stopped|正在运行|已停止)\s{1,24}([12])\s{0,8}$", re.M
)
_TABLE = re.compile(r"^\s{0,6}NAME\s{2,60}STATE\s{2,30}VERSION\s{0,8}$", re.M)
_DEFAULT = re.compile(r"(?:Default Version|默认版本)[:：] {0,3}([12])")
_KERNEL = re.compile(r"(?:Kernel [Vv]ersion|内核版本)[:：]? {0,3}(\d{1,2}\.\d{1,3}\.\d{1,3}[\w.-]{0,40})")
_MICROSOFT = re.compile(r"(?<![\d.])(\d{1,2}\.\d{1,3}\.\d{1,4}(?:[.-][\w.+-]{0,20})?-(?:M|m)icrosoft[\w-]{0,24})")
_WORDS = ("wsl", "windows subsystem", "/mnt/c/", "microsoft", "lxss")
_NAMED = re.compile(
    r"(?i)(?<![\w.])wsl ?(1|2)?(?![\w.])|windows subsystem for linux|/usr/lib/wsl|/mnt/c/|microsoft-standard|lxss"
)


def sniff(text: str) -> bool:
    """Tell whether the report speaks of WSL."""
    if "STATE" in text and _TABLE.search(text):
        return True
    told = _speaking(text)
    return _NAMED.search(told) is not None or _MICROSOFT.search(told) is not None


@lru_cache(1)
def _speaking(text: str) -> str:
    """Give the lines that can speak of WSL, which are few in a long text."""
    low = text.lower()
    words = [word for word in _WORDS if word in low]
    if not words:
        return ""
    lines = zip(text.split("\n"), low.split("\n"), strict=True)
    return "\n".join([line for line, small in lines if any(word in small for word in words)])


def read(text: str) -> Snapshot:
    """Read which WSL it is: by the kernel, by the list of distributions, by the words."""
    told = _speaking(text)
    kernel = _MICROSOFT.search(told) or _KERNEL.search(text)
    listed = _LIST.search(holding(text, "Running", "Stopped", "正在运行", "已停止"))
    words = [found[1] for found in _NAMED.finditer(told)]
    version = 0
    if kernel:
        version = 1 if kernel[1].startswith("4.4.") else 2
    elif listed:
        version = int(listed[2])
    elif "2" in words or (default := _DEFAULT.search(text)) is None or default[1] == "2":
        version = 1 if "1" in words and "2" not in words else 2
    else:
        version = 1
    wsl = Wsl(version=1 if version == 1 else 2)
    system = System(os="linux", kernel=kernel[1] if kernel else None, wsl=wsl)
    return Snapshot(system=system, origins={"system.wsl": ORIGIN})
