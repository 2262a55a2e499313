"""--mirror: names, addresses, what a mirror lacks, and what a person has set up already."""

from __future__ import annotations

import msgspec
import pytest

from envdoctor import errors
from envdoctor.app.mirroring import client_reasons, mirror_named, names
from envdoctor.app.planning import described
from envdoctor.host.recorded import RecordedHost, Recording
from envdoctor.knowledge.load import Knowledge
from envdoctor.model.snapshot import Pip, Setting, Snapshot
from envdoctor.model.stack import Conflict, Mirror, Plan, Request, Target, TargetGpu
from envdoctor.resolver.choice import resolve
from envdoctor.resolver.mirrors import mirrored, settings_reasons
from envdoctor.resolver.offers import trimmed

FACTS = Knowledge()
PASSWORD = "hunter2secret"


def plan(cuda: str = "11.8", **target: object) -> Plan:
    gpus = (TargetGpu(vendor="nvidia", name="NVIDIA GeForce RTX 3060", capability="8.6"),) if cuda != "cpu" else ()
    wanted = msgspec.structs.replace(Target(driver="525.60.13" if gpus else None, glibc="2.35", gpus=gpus), **target)
    found = resolve(Request(cuda=cuda), wanted, FACTS)
    assert not isinstance(found, Conflict)
    return found


def named(name: str) -> Mirror:
    found = mirror_named(name, FACTS)
    assert found is not None
    return found


def words(chosen: Plan) -> str:
    return "\n".join(f"{reason.choice}: {reason.because}" for reason in chosen.reasons)


def test_the_names_of_the_issue_and_one_that_has_everything() -> None:
    assert names(FACTS) == ("tuna", "aliyun", "ustc", "bfsu", "nju")
    assert mirror_named(None, FACTS) is mirror_named("none", FACTS) is None
    for name in names(FACTS):
        mirror = named(name.upper())
        assert mirror.pip and mirror.pip.startswith("https://") and mirror.pip.endswith("/simple"), mirror
        assert mirror.hub == "https://hf-mirror.com"


def test_what_a_mirror_has_is_in_the_commands() -> None:
    nju = mirrored(plan(), named("nju"), FACTS).stack
    assert nju.index_url == "https://mirrors.nju.edu.cn/pytorch/whl/cu118"
    assert nju.pip_command[-4:] == (
        "--index-url", "https://mirror.nju.edu.cn/pypi/web/simple",
        "--extra-index-url", "https://mirrors.nju.edu.cn/pytorch/whl/cu118",
    )  # fmt: skip
    assert "unsafe-best-match" in nju.uv_command
    aliyun = mirrored(plan(), named("aliyun"), FACTS).stack
    assert (aliyun.index_url, aliyun.find_links) == (None, "https://mirrors.aliyun.com/pytorch-wheels/cu118")
    assert aliyun.uv_index is not None and aliyun.uv_index.flat
    assert aliyun.pip_command[-2:] == ("--find-links", "https://mirrors.aliyun.com/pytorch-wheels/cu118")


@pytest.mark.parametrize("name", ["tuna", "ustc", "bfsu"])
def test_a_mirror_without_cuda_wheels_says_so_and_the_way_out(name: str) -> None:
    chosen = mirrored(plan(), named(name), FACTS)
    assert chosen.stack.index_url == "https://download.pytorch.org/whl/cu118"
    said = words(chosen)
    assert f"no copy of the +cu118 wheels is known at {name}" in said
    assert "--mirror aliyun or nju, or --wheelhouse" in said
    assert "no copy of the" not in words(mirrored(plan(), named("aliyun"), FACTS))


def test_a_stack_of_the_plain_index_comes_from_the_mirror_alone() -> None:
    chosen = mirrored(plan("cpu", os="macos", arch="aarch64"), named("tuna"), FACTS)
    assert chosen.stack.pip_command[-2:] == ("--index-url", "https://pypi.tuna.tsinghua.edu.cn/simple")
    assert "no copy of the" not in words(chosen)


def test_what_is_doubted_of_a_mirror_is_said() -> None:
    assert "not certain: https://mirrors.aliyun.com/pytorch-wheels" in words(mirrored(plan(), named("aliyun"), FACTS))
    assert "conda-forge by its name: no copy of it at aliyun" in words(mirrored(plan(), named("aliyun"), FACTS))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("tunna", "did you mean tuna, or its https:// address?"),
        ("aliyn", "did you mean aliyun"),
        ("$(touch pwned)", "did you mean tuna, aliyun, ustc, bfsu, nju"),
        ("", "did you mean tuna"),
    ],
)
def test_unknown_names(name: str, hint: str) -> None:
    with pytest.raises(errors.UsageProblem) as problem:
        mirror_named(name, FACTS)
    assert hint in (problem.value.hint or "")


@pytest.mark.parametrize(
    "address",
    [
        "ftp://x/simple", "https://", "https:///simple", "https://x y/simple", "https://x/a\nb", "https://x/$(id)",
        "https://x/`id`", "https://x/'", 'https://x/"', "https://x/simple?token=hunter2secret", "https://x/#a",
        "https://é.example/simple", "https://x/\\simple", "file:///etc/passwd", "https://a@b@c/simple", "x/y",
        "https://x:99999999/simple", f"https://ann:{PASSWORD}@x/ y", "https://x/a;b", "https://x/a|b", "https://-/<x>",
    ],
)  # fmt: skip
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(errors.UsageProblem) as problem:
        mirror_named(address, FACTS)
    assert PASSWORD not in problem.value.message + (problem.value.hint or "")


def test_an_address_stands_in_for_the_package_index_and_loses_its_password() -> None:
    mirror = named(f"https://ann:{PASSWORD}@pip.example.org:8443/simple/")
    assert (mirror.name, mirror.pip) == ("pip.example.org:8443", "https://pip.example.org:8443/simple")
    assert (mirror.torch, mirror.conda, mirror.hub) == (None, None, None)
    chosen = mirrored(plan(), mirror, FACTS)
    assert PASSWORD not in repr(chosen) and "ann" not in repr(mirror.pip)
    assert "the user and the password of its address are written nowhere" in words(chosen)
    assert "trusted-host 10.0.0.1" in words(mirrored(plan(), named("http://10.0.0.1/simple"), FACTS))


def test_what_pip_is_told_here_is_respected_and_said() -> None:
    told = Snapshot(
        pip=Pip(
            settings=(
                Setting(name="index-url", value="https://own.example/simple", source="PIP_INDEX_URL"),
                Setting(name="index-url", value="https://older.example/simple", source="/etc/pip.conf"),
                Setting(name="proxy", value="http://proxy", source="/etc/pip.conf"),
            )
        )
    )
    (alone,) = settings_reasons(told, None)
    assert alone.choice == "your pip settings stay: index-url https://own.example/simple"
    assert alone.because == "requirements.txt leaves it the first index (PIP_INDEX_URL)"
    (beside,) = settings_reasons(told, named("tuna"))
    assert "https://pypi.tuna.tsinghua.edu.cn/simple goes before https://own.example/simple" in beside.because
    assert settings_reasons(Snapshot(), None) == settings_reasons(Snapshot(pip=Pip()), None) == ()


def test_what_conda_and_uv_are_told_here_is_said() -> None:
    host = RecordedHost(
        Recording(environ={"HOME": "/home/ann", "UV_INDEX_URL": "x"}, files={"/home/ann/.condarc": "channels: []\n"})
    )
    conda, uv = client_reasons(host, None)
    assert conda.choice == "your conda settings stay (/home/ann/.condarc)" and "channel_alias" in conda.because
    assert uv.choice == "your uv settings stay (UV_INDEX_URL)"
    assert "anaconda/cloud/conda-forge in full" in client_reasons(host, named("tuna"))[0].because
    assert client_reasons(RecordedHost(Recording(environ={"HOME": "/home/ann"})), None) == ()


def test_the_options_of_the_command_are_what_pip_is_started_with() -> None:
    assert plan().stack.pip_options == ("--index-url", "https://download.pytorch.org/whl/cu118")
    nju = mirrored(plan(), named("nju"), FACTS)
    assert nju.stack.pip_options[::2] == ("--index-url", "--extra-index-url")
    # What an index does not offer is left out, and the rest still comes from the mirror.
    offered = {name: (version,) for name, version in nju.stack.packages.items() if name != "torchaudio"}
    kept = trimmed(nju, offered)
    assert kept is not None and "torchaudio" not in kept.stack.packages
    assert kept.stack.pip_options == nju.stack.pip_options


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("AMD Radeon 12345", "give its gfx target, which rocminfo prints: gfx1100"),
        ("MI999X", "give its gfx target, which rocminfo prints: gfx1100"),
        ("Voodoo 3", "give its compute capability: 8.6"),
    ],
)
def test_an_unknown_card_is_named_by_what_its_maker_calls_its_kind(name: str, hint: str) -> None:
    with pytest.raises(errors.UsageProblem) as problem:
        described(Target(), FACTS, gpus=(name,))
    assert problem.value.hint == hint
    assert described(Target(), FACTS, gpus=("gfx1100",)).gpus == (TargetGpu(vendor="amd", target="gfx1100"),)


def test_tensorflow_on_windows_itself_takes_no_python_from_a_linux_image() -> None:
    windows = Target(os="windows", driver="560.81", gpus=(TargetGpu(vendor="nvidia", capability="8.6"),))
    request = Request(framework="tensorflow", framework_version="2.10", cuda="11.2")
    found = resolve(request, windows, FACTS)
    assert isinstance(found, Plan) and found.stack.python == "3.9"
    assert "image's Ubuntu" not in words(found).partition("nvidia/cuda")[0]
    linux = resolve(request, Target(driver="525.60.13", gpus=windows.gpus, glibc="2.31"), FACTS)
    assert isinstance(linux, Plan) and linux.stack.python == linux.stack.image_python
