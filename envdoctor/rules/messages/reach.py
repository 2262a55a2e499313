"""What pip, conda and the Hub's client print when an index is out of reach, or a disk takes nothing more."""

from __future__ import annotations

import re
from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.told import Said, mentions, said

PIP_CERTIFICATES = "https://pip.pypa.io/en/stable/topics/https-certificates/"
HUB = "https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables"


@rule(
    "MSG711",
    "certificates-missing",
    "error",
    needs=("problems",),
    supersedes=("MSG702", "MSG712", "NET004"),
    sources=(PIP_CERTIFICATES,),
)
def certificates(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """Python does not trust the certificate that a server, or a proxy in between, shows.

    A company's proxy that reads encrypted traffic signs it anew with a certificate of its own, which Python's list
    does not hold. A Python that was built without OpenSSL cannot make such a connection at all.

    Check: `python -c "import ssl, urllib.request; urllib.request.urlopen('https://huggingface.co')"`.
    """
    line = said(
        machine,
        r"(?i)CERTIFICATE_VERIFY_FAILED[^\n]{0,120}",
        r"(?i)ssl module in Python is not available|the ssl module is not available",
        r"(?i)SSLError\((?:SSLCertVerificationError|\"?[^\n]{0,60}certificate)",
        r"(?i)invalid peer certificate: UnknownIssuer",
    )
    if line is None:
        return
    without = "available" in line.words[0]
    yield found(
        say("This Python has no ssl module")
        if without
        else say("Python does not trust the certificate that it is shown"),
        say("It was built without OpenSSL; no download over https works with it.")
        if without
        else say("Mostly a proxy of the company stands in between."),
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary=say("Take a Python with OpenSSL (the distribution's, or conda's).")
                if without
                else say(
                    "Name the company's certificates in SSL_CERT_FILE and REQUESTS_CA_BUNDLE; for pip also --cert."
                ),
                page=PIP_CERTIFICATES,
            ),
        ),
    )


# A program's own line, not a person's word for it: an exception, a code, the name of a tool with a colon.
_PRINTED = (
    r"\w(?:Error|Exception)\b ?[:(]|\bErrno\b|gaierror|^(?:curl|fatal|wget|E|Err|W|ERROR|WARNING|error)\b ?:|\bcurl: \("
    r"|ConnectionPool\(|Caused by|HTTP 000|(?i:for url <|couldn't connect to 'https|with url: /)"
)
_OFFLINE_ASKED = (
    (
        r"\b(?:how|is there|can i|could i|what is the (?:best|right) way|any way)\b[^\n]{0,120}(?:offline|pre-?download"
        r"|without (?:an? )?(?:internet|network|connection)|no internet|air-?gapped|mirror|cache|proxy)"
    ),
    r"(?:怎么|如何|怎样)[^\n]{0,60}(?:离线|预先下载|提前下载|没有网络|无网络|不联网|代理|镜像|缓存)",
)
# What comes before words that did not happen: a question, a wish, a condition.
_IMAGINED = (
    r"(?i)\b(?:instead of|avoid|prevent|without(?: getting)?|never|no more|would|unless|in case of|how to handle)\b"
)


def _line_of(line: Said) -> str:
    """Give the whole line that a message begins in."""
    text = line.words.string
    return text[text.rfind("\n", 0, line.words.start()) + 1 :].partition("\n")[0]


def _before(line: Said) -> str:
    """Give what stands before a message in its line."""
    text, start = line.words.string, line.words.start()
    return text[text.rfind("\n", 0, start) + 1 : start]


@rule(
    "MSG712",
    "network-unreachable",
    "error",
    needs=("problems",),
    supersedes=("MSG702",),
    sources=("https://pip.pypa.io/en/stable/user_guide/#using-a-proxy-server", HUB),
)
def unreachable(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A package index or the model hub cannot be reached from this machine.

    There is no name service, no route, a proxy that does not answer, or a firewall. pip then knows no version at all
    and says so in the same words as for a package that does not exist.

    Check: `curl -I https://huggingface.co` from the same shell.
    A warning where a person only mentions it; nothing where the question is how to work without a network.
    """
    line = said(
        machine,
        r"(?i)ProxyError|Cannot connect to proxy|Tunnel connection failed",
        r"(?i)Temporary failure in name resolution|Name or service not known|getaddrinfo failed|Could not resolve host",
        r"(?i)NewConnectionError|ConnectTimeoutError|ReadTimeoutError|Network is unreachable",
        r"(?i)CondaHTTPError: HTTP 000|CONNECTION FAILED for url",
        r"(?i)We couldn't connect to 'https://\S+' to load",
        r"(?i)LocalEntryNotFoundError[^\n]{0,120}|cannot find the requested files in the (?:local|disk) cache",
        r"(?i)Max retries exceeded with url",
    )
    printed = line is not None and re.search(_PRINTED, _line_of(line)) is not None
    if line is None or (not printed and mentions(machine, *_OFFLINE_ASKED)) or re.search(_IMAGINED, _before(line)):
        return
    yield found(
        say("The package index or the model hub is out of reach"),
        say("The connection itself failed, so versions and files say nothing."),
        evidence=(line.evidence,),
        severity=None if printed else "warning",
        certainty=None if printed else "likely",
        fixes=(
            Fix(
                summary=say(
                    "Set HTTPS_PROXY to the proxy that leads out, or name a mirror that is reachable (pip: "
                    "--index-url; the hub: HF_ENDPOINT)."
                )
            ),
        ),
    )


@rule(
    "DISK003",
    "disk-quota-reached",
    "error",
    needs=("problems",),
    supersedes=("MSG713", "DISK001"),
    sources=("https://man7.org/linux/man-pages/man3/errno.3.html", HUB),
)
def quota(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The account may write no more: its quota is used up, though the disk has room.

    Home folders of clusters are small, and frameworks, pip's cache and the Hub's models take many gigabytes there.
    Only the system's refusal tells, for clusters set quotas by project that `quota` does not show.

    Check: `quota -s`, or the cluster's own command.
    """
    line = said(machine, r"(?i)Disk quota exceeded|\bErrno 122\b|\bEDQUOT\b|超出磁盘限额")
    if line is None:
        return
    yield _no_room(say("The account's quota is used up"), say("The disk itself may have room."), line)


@rule(
    "MSG713",
    "disk-nearly-full",
    "error",
    needs=("problems",),
    supersedes=("DISK001",),
    sources=("https://man7.org/linux/man-pages/man3/errno.3.html", HUB),
)
def full(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A file could not be written because the disk is full.

    Frameworks and models take many gigabytes in the home folder: pip's cache, conda's packages, the Hub's models;
    temporary files are written to a disk of their own on some machines.

    Check: `df -h . /tmp`.
    Silent where the shared memory is meant, which has a message of its own.
    """
    line = said(
        machine, r"(?i)No space left on device|\bErrno 28\b|\bENOSPC\b|not enough space on the disk|WinError 112\b"
    )
    if line is None or said(machine, r"dev/shm|/torch_\d+_\d+|shared memory"):
        return
    yield _no_room(say("The disk that is written to is full"), say("Temporary folders and caches count too."), line)


def _no_room(title: str, detail: str, line: Said) -> Found:
    return found(
        title,
        detail,
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary=say(
                    "Move caches and environments to a larger place: HF_HOME, PIP_CACHE_DIR, CONDA_PKGS_DIRS, TMPDIR."
                ),
                commands=(("python", "-m", "pip", "cache", "purge"),),
                page=HUB,
            ),
        ),
    )
