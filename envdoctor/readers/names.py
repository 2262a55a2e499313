"""Operating systems and GPUs by the names that reports give them."""

from __future__ import annotations

import re
from functools import lru_cache

from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.names import gpu_named, names_whole
from envdoctor.model.snapshot import Gpu, System, Wsl

# What may stand before a version number, and the ID that os-release has for it.
_DISTRIBUTIONS = {
    "ubuntu": "ubuntu",
    "debian": "debian",
    "centos": "centos",
    "rhel": "rhel",
    "red hat": "rhel",
    "rocky": "rocky",
    "almalinux": "almalinux",
    "fedora": "fedora",
    "arch linux": "arch",
    "manjaro": "manjaro",
    "linux mint": "linuxmint",
    "linuxmint": "linuxmint",
    "pop!_os": "pop",
    "pop_os": "pop",
    "opensuse": "opensuse-leap",
    "suse linux enterprise": "sles",
    "amazon linux": "amzn",
    "kali": "kali",
}
_LINUX = re.compile(
    rf"(?i)(?<![\w-])({'|'.join(re.escape(each) for each in _DISTRIBUTIONS)})[a-z "
    rf"/()-]{{0,40}}?[\s-]?(\d{{1,2}}(?:\.\d{{1,2}})?)?(?![\w-])"
)
_WINDOWS = re.compile(
    r"(?i)(?<![\w-])(?:microsoft )?win(?:dows)?[ _-]?(?:edition: )?(7|8|10|11|server)(?![\d.])|microsoft windows"
)
_MAC = re.compile(r"(?i)(?<!\w)(?:mac ?os(?: ?x)?|darwin)(?!\w)")
_KERNEL = re.compile(r"(?i)(?<![\d.])(\d\.\d{1,3}(?:\.\d{1,3})?[\w.+-]{0,60}microsoft[\w-]{0,30})")

_CARD = re.compile(
    r"(?i)(?<![\w-])(?:nvidia )?(?:"
    r"(?:geforce )?(?:rtx|gtx|gt)[ -]?\d{3,4}(?:[ -]?(?:ti|super|max-q|laptop gpu|laptop"
    r"|d\b(?: ?v2)?))*(?: ada(?: generation)?)?"
    r"|rtx a\d{4}|rtx pro \d{4}[\w -]{0,24}blackwell[\w -]{0,20}|rtx[ -]?\d{4} ada"
    r"|titan (?:x\b(?: \(pascal\))?|xp\b|v\b|rtx\b)|gtx titan(?: x| black| z)?"
    r"|tesla [kmptv]\d{1,3}\w?|quadro(?: rtx| k| p| m| t| gv| gp)? ?[kmptgv]{0,2}\d{3,4}\w?"
    r"|(?:tesla )?(?:a|h|b|l)(?:2|4|10|10g|10m|16|30|40|40s"
    r"|100|200|800|20|300)(?:[ -](?:pcie|sxm\d?|nvl|80gb|40gb)[\w -]{0,20})?\b"
    r"|[vp]100(?:[ -](?:pcie|sxm\d?)[\w -]{0,16})?|t4\b|k80\b|m60\b|p40\b|p4\b|"
    r"mx\d{3}|geforce [mg]?\d{3}m[x]?|geforce \d{3,4}\w?"
    r"|gh200|gb200|gb10|(?<=nvidia )thor"
    r"|radeon (?:rx|pro|vii)[ \w]{0,14}|rx ?[567]\d00(?: ?xtx?| ?s)?(?!\w)|(?:amd "
    r")?instinct mi\d{2,3}\w?|mi\d{3}[xa]?\b"
    r")(?:\b|(?=\s|$|[,;()]))"
)
# GeForce cards by their number alone: "a 4090", "2 x 3090", "2080ti", "3060 12G"; a bare number says nothing.
_BARE = re.compile(
    r"(?i)(?<![\w.,:/=-])(?:(a|an|my|our|gpu:?|card:?|显卡[:：]?(?: ?是)?|用|单卡|双卡|[1248] ?[x×卡张块]) ?)?"
    r"((?:10[5-8]|16[56]|20[6-8]|30[5-9]|40[6-9]|50[5-9])0(?: ?(ti|super))?)(?![\w.%])(?! ?[x×*] ?\d)"
    r"(?: ?(显卡|机器|卡|gpus?\b|laptop|\d{1,2} ?g(?:i?b)?\b))?"
)
# Short words are a card's name only beside something that says so: "T4" alone is also a label, "A10" a page size.
_SHORT = re.compile(r"(?i)^(?:nvidia )?(?:[ablhvpktm]\d{1,2}s?|gt ?\d{3,4})$")
_facts: Knowledge | None = None


def facts() -> Knowledge:
    """Give the tables, read once."""
    global _facts
    _facts = _facts or Knowledge()
    return _facts


@lru_cache(256)
def gpu_of(name: str) -> Gpu:
    """Give a card of that name, with the maker and the capability that the tables know.

    A family's name stays as it was written: "A100" does not tell which of its models it is.
    """
    name = name.strip(" ,;.")
    low = name.lower()
    row = gpu_named(facts(), name)
    if row is not None:
        known = row.name if names_whole(row, name) else name
        return Gpu(vendor=row.vendor, name=known, capability=row.capability, target=row.target)
    if any(word in low for word in ("radeon", "amd", "instinct", "rx ")) or low.startswith(("rx", "mi")):
        return Gpu(vendor="amd", name=name)
    if any(word in low for word in ("intel", "iris", "arc ")):
        return Gpu(vendor="intel", name=name, integrated="arc" not in low)
    return Gpu(vendor="nvidia", name=name)


def gpus_of(cards: list[str]) -> tuple[Gpu, ...]:
    """Give cards by their names, numbered as they come."""
    from msgspec.structs import replace

    return tuple(replace(gpu_of(name), index=index) for index, name in enumerate(cards))


def cards_in(text: str, most: int = 4) -> list[str]:
    """Find the names of cards in prose, each once, in their order."""
    found: dict[str, str] = {}
    for match in _CARD.finditer(text):
        name = " ".join(match[0].split())
        before = text[max(0, match.start() - 24) : match.start()].lower()
        if _SHORT.match(name) and not any(w in before for w in ("gpu", "nvidia", "tesla", "geforce", "card", "显卡")):
            continue
        key = re.sub(r"[^a-z0-9]", "", name.lower().replace("nvidia", "").replace("geforce", ""))
        if not any(key in other or other in key for other in found):
            found[key] = name
        if len(found) >= most:
            break
    if not found:
        bare = [each for each in _BARE.finditer(text) if each[1] or each[3] or each[4]]
        found = {each[2].lower(): f"{'GTX' if each[2][0] == '1' else 'RTX'} {each[2]}" for each in bare[:most]}
    return list(found.values())


def system_named(text: str, libc: str | None = None, platform: str | None = None) -> System | None:
    """Give the operating system that a text names; None: it names none."""
    version = re.search(r"(\d+\.\d+)", libc or "") or re.search(r"glibc(\d+\.\d+)", platform or "")
    kernel = re.match(r"Linux-([\w.+-]+?)-(x86_64|aarch64|i686|ppc64le)", platform or "")
    microsoft = _KERNEL.search(platform or "") or _KERNEL.search(text)
    machine = kernel[2] if kernel else next((m for m in ("x86_64", "aarch64", "arm64", "AMD64") if m in text), None)
    wsl = None
    if microsoft or (kernel and "microsoft" in kernel[1].lower()):
        number = (microsoft[1] if microsoft else kernel[1] if kernel else "").lower()
        wsl = Wsl(version=1 if number.startswith("4.4.") else 2)
    linux = _LINUX.search(text)
    common = {
        "kernel": kernel[1] if kernel else microsoft[1] if microsoft else None,
        "machine": machine,
        "libc": "glibc" if version else None,
        "libc_version": version[1] if version else None,
        "wsl": wsl,
    }
    if linux and not (_WINDOWS.match(text) and wsl is None):
        name = _DISTRIBUTIONS[linux[1].lower()]
        return System(os="linux", distribution=name, distribution_version=linux[2], name=linux[0].strip(), **common)  # type: ignore[arg-type]
    if platform and platform.startswith("Linux"):
        return System(os="linux", **common)  # type: ignore[arg-type]
    if _WINDOWS.search(text) or (platform or "").startswith("Windows"):
        return System(os="windows", name=text[:80] or None, machine="AMD64" if machine is None else machine)
    if _MAC.search(text) or (platform or "").startswith("macOS"):
        return System(os="macos", name=text[:80] or None, machine=machine)
    return None
