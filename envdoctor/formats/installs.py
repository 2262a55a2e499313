"""What a shell command installs: pip, uv, conda and the packages of a distribution."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise

from msgspec.structs import replace

from envdoctor.formats import conda_environment, requirements
from envdoctor.formats.requirements import Beside, Sources
from envdoctor.formats.shell_words import Word, head, known
from envdoctor.model.redaction import without_credentials
from envdoctor.model.snapshot import Declared

_PIP = re.compile(r"pip[\d.]*")
_CONDA = frozenset(("conda", "mamba", "micromamba"))
_SYSTEM = frozenset(("apt", "apt-get", "yum", "dnf", "microdnf", "zypper", "apk"))
_CONDA_WITH_VALUE = frozenset(("-n", "--name", "-p", "--prefix", "--file", "--solver", "--repodata-fn", "--subdir"))


def installed(
    command: list[Word], plain: Declared, lines: Mapping[int, str], variables: Mapping[str, str | None], beside: Beside
) -> list[Declared]:
    """Give what one command installs, or sets for what comes after it. `lines` are the file's, by number."""
    own, words = head(command)
    if not words:
        return []
    at = [replace(plain, line=word.line, text=lines.get(word.line, "")) for word in words]
    texts = [word.text for word in words]
    program = texts[0].rpartition("/")[2]
    pip = _after_pip(program, texts)
    if pip is not None:
        by = "uv" if program == "uv" else "pip"
        before = from_variables({**variables, **own}, uv=by == "uv")
        return _pip(words[pip:], replace(plain, by=by), before, lines, beside)
    if program in _CONDA and len(texts) > 1:
        return _conda(words, replace(plain, by="conda"), lines, beside)
    if program in _SYSTEM and any(each in ("install", "add") for each in texts[1:]):
        start = next(number for number, each in enumerate(texts) if number and each in ("install", "add"))
        return [
            replace(one, kind="system", name=text.partition("=")[0], value=text.partition("=")[2], by="system")
            for one, text in zip(at[start + 1 :], texts[start + 1 :], strict=True)
            if not text.startswith("-") and known(text)
        ]
    if program == "export":
        return [
            replace(one, kind="variable", name=text.partition("=")[0], value=text.partition("=")[2], by="system")
            for one, text in zip(at[1:], texts[1:], strict=True)
            if "=" in text
        ]
    return []


def from_variables(variables: Mapping[str, str | None], *, uv: bool = False) -> Sources:
    """Give the indexes that variables set for pip, or for uv."""
    names = ("UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS") if uv else ()
    index, more, links = names or ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS")
    default = variables.get("UV_DEFAULT_INDEX") if uv else None
    return Sources(
        default or variables.get(index) or None,
        tuple((variables.get(more) or "").split()),
        tuple((variables.get(links) or "").split()),
    )


def _after_pip(program: str, texts: list[str]) -> int | None:
    """Give the place behind `pip install`; None: that is another command."""
    if _PIP.fullmatch(program):
        start = 1
    elif program == "uv" and texts[1:2] == ["pip"]:
        start = 2
    elif re.fullmatch(r"python[\d.]*", program) and "-m" in texts and texts[texts.index("-m") + 1 :][:1] == ["pip"]:
        start = texts.index("-m") + 2
    else:
        return None
    # Options may stand before the word install.
    return texts.index("install", start) + 1 if "install" in texts[start : start + 6] else None


def _pip(
    words: list[Word], plain: Declared, before: Sources, lines: Mapping[int, str], beside: Beside
) -> list[Declared]:
    read = requirements.arguments(words, before)
    sources = read.sources
    if read.torch_backend and known(read.torch_backend) and read.torch_backend != "auto":
        sources = Sources(f"https://download.pytorch.org/whl/{read.torch_backend}", sources.more, sources.links)
    found = []
    for text, line in read.packages:
        one = replace(plain, line=line, text=lines.get(line, ""))
        package = requirements.requirement(text, one, sources)
        if package and read.torch_backend == "auto" and package.name in ("torch", "torchvision", "torchaudio"):
            package = replace(package, value=None)  # uv chooses by the driver that it meets
        found += [package] if package else []
    for name in read.files:
        file = beside(name)
        if file is not None:
            found += requirements.read(file[1], replace(plain, file=file[0]), beside, sources)
    return found


def _conda(words: list[Word], plain: Declared, lines: Mapping[int, str], beside: Beside) -> list[Declared]:
    texts = [word.text for word in words]
    if texts[1:3] in (["env", "create"], ["env", "update"]) or ("-f" in texts and texts[0].endswith("mamba")):
        name = next((b for a, b in pairwise(texts) if a in ("-f", "--file")), "environment.yml")
        file = beside(name.partition("=")[2] or name)
        return conda_environment.read(file[1], replace(plain, file=file[0])) if file is not None else []
    if not any(each in ("install", "create") for each in texts[1:3]):
        return []
    found: list[Declared] = []
    rest = iter(words[2:])
    for word in rest:
        one = replace(plain, line=word.line, text=lines.get(word.line, ""))
        name, equals, value = word.text.partition("=")
        if name in ("-c", "--channel"):
            value = value if equals else next(rest, Word("", 0)).text
            found.append(replace(one, kind="channel", name=without_credentials(value)))
        elif word.text in _CONDA_WITH_VALUE:
            next(rest, None)
        elif not word.text.startswith("-"):
            package = conda_environment.match_spec(word.text, one)
            found += [package] if package else []
    return found
