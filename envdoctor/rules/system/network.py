"""Where packages and models come from, judged by configuration and by connections that a person asked for."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Asked, Setting, Snapshot
from envdoctor.model.speech import message, say
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.remedies import unset_variable
from envdoctor.rules.wording import listed

_CONFIGURATION = "https://pip.pypa.io/en/stable/topics/configuration/"
_UV = "https://docs.astral.sh/uv/guides/integration/pytorch/"
_PYTORCH = "download.pytorch.org"
# Mirrors of the package index that have no wheels of CUDA indexes.
_MIRRORS = (
    "pypi.tuna.tsinghua.edu.cn",
    "mirrors.aliyun.com/pypi",
    "mirrors.ustc.edu.cn/pypi",
    "pypi.mirrors.ustc.edu.cn",
    "pypi.doubanio.com",
    "mirrors.cloud.tencent.com/pypi",
    "mirrors.huaweicloud.com/repository/pypi",
)
_CERTIFICATES = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE", "PIP_CERT")


def _setting(machine: Snapshot, name: str) -> tuple[int, Setting] | None:
    """Give the setting of pip that counts, with its place."""
    settings = machine.pip.settings if machine.pip else ()
    return next(((i, each) for i, each in enumerate(settings) if each.name == name), None)


# What a connection came to.
_OUTCOMES = {
    "name-unknown": message("Its name could not be looked up: it is misspelt, or this machine has no name service."),
    "refused": message("That machine answers, and takes no connections on this port."),
    "no-route": message("The system knows no way to it: there is no network, or a firewall forbids it."),
    "no-answer": message("It gave no answer in time: it is switched off, or a firewall drops what is sent."),
}


@rule(
    "NET001",
    "network-unreachable",
    "error",
    needs=("network",),
    sources=(_CONFIGURATION, "https://pip.pypa.io/en/stable/user_guide/#using-a-proxy-server"),
)
def server_is_not_reachable(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The package index, or the proxy on the way to it, cannot be reached.

    What pip prints does not tell whether the name, the proxy or the index is at fault. `envdoctor diagnose --network`
    connects to each index that is set, or to pip's own, and in place of it to the proxy where one serves it.

    Check: `python -m pip config debug` shows which file or variable names the server.
    Silent without --network, and where the server takes the connection, even if it wants a password. What lies behind
    a proxy is not asked. A warning where nothing else answered either, as on a machine without a network, and for an
    index in extra-index-url, without which pip goes on.
    """
    network = machine.network or ()
    others_answer = any(each.outcome == "reached" for each in network)
    for place, each in enumerate(network):
        if each.outcome == "reached":
            continue
        proxy = each.kind == "proxy"
        yield found(
            say("The proxy {target} cannot be reached", target=each.target)
            if proxy
            else say("The package index {target} cannot be reached", target=each.target),
            say(_OUTCOMES[each.outcome]),
            evidence=tuple(f"network[{place}].{fact}" for fact in ("outcome", "target", "source")),
            severity="error" if proxy or (each.kind == "index" and others_answer) else "warning",
            fixes=(_another_way(machine, each),),
        )


def _another_way(machine: Snapshot, server: Asked) -> Fix:
    variable = any(each.name == server.source for each in machine.variables)
    commands = (unset_variable(machine, server.source),) if variable else ()
    if server.kind == "proxy":
        return Fix(
            summary=say("Correct the proxy in {source}, start it, or take it out.", source=server.source),
            commands=commands,
        )
    if server.source.endswith("/pip/_internal/models/index.py"):
        return Fix(summary=say("Set the proxy that this network needs in https_proxy, or a mirror in index-url."))
    return Fix(summary=say("Correct the index in {source}, or take it out.", source=server.source), commands=commands)


@rule(
    "NET002",
    "package-indexes-mixed",
    "warning",
    needs=("pip", "gpus.vendor"),
    sources=("https://pip.pypa.io/en/stable/cli/pip_install/", _UV),
)
def indexes_are_mixed(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """Packages come from several indexes at once, PyTorch's among them, and pip takes the newest.

    extra-index-url gives no index a preference, so a newer torch of the package index wins over the CUDA build that was
    meant.

    Check: `python -m pip config list`.
    Silent for uv, which prefers the first index, and without PyTorch's index.
    """
    extra, main = _setting(machine, "extra-index-url"), _setting(machine, "index-url")
    if extra is None:
        return
    in_extra, in_main = _PYTORCH in extra[1].value, main is not None and _PYTORCH in main[1].value
    if in_extra == in_main:
        return
    yield found(
        say("pip mixes PyTorch's index with another one (extra-index-url in {source})", source=extra[1].source),
        say("It takes the newest version of both, which need not be the build for your CUDA."),
        evidence=(f"pip.settings[{extra[0]}].value", f"pip.settings[{extra[0]}].source"),
        fixes=(
            Fix(
                summary=say(
                    "Take the setting out, and name PyTorch's index when you install torch: --index-url "
                    "https://{pytorch}/whl/cu126.",
                    pytorch=_PYTORCH,
                ),
                commands=(("python", "-m", "pip", "config", "unset", "global.extra-index-url"),),
            ),
        ),
    )


@rule(
    "NET003",
    "mirror-without-cuda-wheels",
    "warning",
    certainty="likely",
    needs=("pip", "gpus.vendor", "system.os"),
    sources=(_UV,),
)
def mirror_has_no_cuda_wheels(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The mirror of the package index that pip installs from has no CUDA builds for Windows.

    A mirror copies the package index and nothing else; PyTorch's CUDA builds are on a server of their own. On Windows
    the same command gives the CPU build.

    Check: `python -c "import torch; print(torch.version.cuda)"`.
    Silent on Linux, where the package index's wheel is a CUDA build, without an NVIDIA GPU, and where PyTorch's index
    or a mirror of it is set as well.
    """
    index, extra = _setting(machine, "index-url"), _setting(machine, "extra-index-url")
    if index is None or machine.system is None or machine.system.os != "windows" or not machine.nvidia_gpus:
        return
    if not any(mirror in index[1].value for mirror in _MIRRORS) or (extra and "pytorch" in extra[1].value):
        return
    yield found(
        say("pip installs from a mirror without CUDA builds of PyTorch ({source})", source=index[1].source),
        say("On Windows the package index has the CPU build only."),
        evidence=(f"pip.settings[{index[0]}].value", "system.os"),
        fixes=(
            Fix(
                summary=say(
                    "Name PyTorch's index when you install torch: --index-url https://{pytorch}/whl/cu126.",
                    pytorch=_PYTORCH,
                )
            ),
        ),
    )


@rule(
    "NET004",
    "certificates-missing",
    "error",
    needs=("variables", "pip"),
    sources=(
        "https://github.com/conda/conda/blob/main/conda/plugins/subcommands/doctor/health_checks/requests_ca_bundle.py",
        _CONFIGURATION,
    ),
)
def certificates_are_missing(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A variable names certificates that do not exist.

    It says which certificates to trust. With a path that leads nowhere, every download over HTTPS fails.

    Check: `ls` of the path.
    """
    wrong = [each for each in machine.variables if each.name in _CERTIFICATES and each.missing]
    if not wrong:
        return
    yield found(
        say(
            "There are no certificates where {wrong} looks for them",
            wrong=listed(f"{each.name}={each.value}" for each in wrong),
        ),
        say("Downloads over HTTPS fail with a message about certificates, or about a path."),
        evidence=tuple(f"variables.{each.name}" for each in wrong),
        fixes=(
            Fix(
                summary=say("Take it out, or let it name your company's certificates."),
                commands=tuple(unset_variable(machine, each.name) for each in wrong),
            ),
        ),
    )


@rule(
    "NET005",
    "hub-endpoint-wrong",
    "error",
    needs=("variables",),
    sources=("https://github.com/huggingface/huggingface_hub/blob/main/src/huggingface_hub/constants.py",),
)
def hub_endpoint_is_no_address(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """HF_ENDPOINT is not an address that begins with http:// or https://.

    All traffic with the Hugging Face Hub goes to this address, your token included.

    Check: `printenv HF_ENDPOINT`.
    A mirror with a whole address is deliberate and not reported.
    """
    value = machine.variable("HF_ENDPOINT")
    if not value or value.startswith(("http://", "https://")):
        return
    yield found(
        say("HF_ENDPOINT={value} is not an address: it must begin with https://", value=value),
        say("Every download from the Hugging Face Hub fails."),
        evidence=("variables.HF_ENDPOINT",),
        fixes=(
            Fix(
                summary=say("Take it out, or write the whole address."),
                commands=(unset_variable(machine, "HF_ENDPOINT"),),
            ),
        ),
    )


@rule(
    "NET006",
    "pip-restricted",
    "note",
    needs=("pip",),
    sources=(_CONFIGURATION,),
)
def pip_is_restricted(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A setting keeps pip off the network, or binds it to a list of versions.

    Variables and configuration files apply to every call, and explain versions that nobody typed.

    Check: `python -m pip config debug`.
    An error where the list of versions does not exist: then every installation fails. On machines without a network the
    setting no-index is as it should be.
    """
    pip = machine.pip
    if pip is None:
        return
    for place, each in enumerate(pip.settings):
        if each.name in ("constraint", "cert") and each.value in pip.missing:
            yield found(
                say("pip's setting {setting} names {file}, which does not exist", setting=each.name, file=each.value),
                say("Every installation fails. It is set in {source}.", source=each.source),
                evidence=(f"pip.settings[{place}].value", f"pip.settings[{place}].source"),
                severity="error",
                fixes=(Fix(summary=say("Take the setting out, or put the file back.")),),
            )
        elif each.name == "no-index" and each.value.lower() in ("1", "true", "yes", "on"):
            yield found(
                say("pip is told not to use any index (no-index in {source})", source=each.source),
                say("It installs only from folders that find-links names."),
                evidence=(f"pip.settings[{place}].value", f"pip.settings[{place}].source"),
                severity="warning",
                fixes=(Fix(summary=say("Take the setting out, where this machine has a network.")),),
            )
