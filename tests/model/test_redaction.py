"""What must go, what must stay, and that doing it twice changes nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envdoctor.model.finding import Finding, Fix
from envdoctor.model.redaction import Redactor, is_secret, without_credentials
from envdoctor.model.snapshot import (
    Container,
    Evidence,
    Gap,
    Gpu,
    Package,
    PythonEnv,
    Snapshot,
    System,
    Variable,
)

UUID = "8932f937-d72c-4106-c12f-20bd9faed9f6"
ANN = Redactor("annabella", "thinkpad7.lab.example.com", "/home/annabella")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/home/annabella/.cache/pip", "~/.cache/pip"),
        ("PATH=/home/annabella/bin:/usr/bin", "PATH=~/bin:/usr/bin"),
        ("file:///home/annabella/x.whl", "file://~/x.whl"),
        ("/home/annabella", "~"),
        ("/home/annabella2/x", "/home/other/x"),
        ("/home/bob/x and /Users/Bob/y", "/home/other/x and /Users/other/y"),
        ("/mnt/c/Users/Bob Smith/x", "/mnt/c/Users/other/x"),
        ("/mnt/c/Users/bob and /x", "/mnt/c/Users/other and /x"),
        (r"C:\Users\Bob Smith\AppData", r"C:\Users\other\AppData"),
        ("/scratch/annabella/env", "/scratch/user/env"),
        ("annabella@thinkpad7: bash", "user@host: bash"),
        ("thinkpad7.lab.example.com is slow", "host is slow"),
        ("ssh thinkpad7.local", "ssh host.local"),
        (
            "annabellasoft annabella-tools annabella.py xannabella",
            "annabellasoft annabella-tools annabella.py xannabella",
        ),
        ("a file of annabella.", "a file of user."),
    ],
)
def test_persons_and_machines(text: str, expected: str) -> None:
    assert ANN.text(text) == expected


@pytest.mark.parametrize(
    ("user", "hostname", "home"),
    [
        ("root", "localhost", "/root"),
        ("user", "host", "/home/user"),
        ("torch", "gpu", "/home/torch"),
        ("max", "vm", "/"),
        ("", "", ""),
    ],
)
def test_ordinary_names_damage_no_words(user: str, hostname: str, home: str) -> None:
    text = "root cause: user torch on gpu host needs memory.max of vm localhost, max 3; requires-root user_id"
    assert Redactor(user, hostname, home).text(text) == text


def test_a_home_that_is_the_root_folder_is_not_replaced() -> None:
    assert Redactor("nobody", "x", "/").text("/usr/lib") == "/usr/lib"
    assert Redactor("root", "", "/root").text("/root/.cache /rooted /mnt/root/x") == "~/.cache /rooted /mnt/root/x"


def test_a_short_name_counts_only_where_a_name_stands() -> None:
    redactor = Redactor("al", "pc9", "/home/al")
    assert redactor.text("al runs /scratch/al/x as bob@al in al") == "al runs /scratch/user/x as bob@user in al"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://ann:p@ss@pip.example.com/simple", "https://***@pip.example.com/simple"),
        ("git+https://tok3n@github.com/a/b@v1.2", "git+https://***@github.com/a/b@v1.2"),
        ("proxy=ann:s3cret@proxy:3128", "proxy=***@proxy:3128"),
        ("https://x.example.com/a?b=1&token=abc&c=2", "https://x.example.com/a?b=1&token=***&c=2"),
        ("HF_TOKEN=abc AWS_SECRET_ACCESS_KEY='x y'", "HF_TOKEN=*** AWS_SECRET_ACCESS_KEY='*** y'"),
        ('{"api_key": "abc"}', '{"api_key": "***"}'),
        ("password=hunter2;", "password=***;"),
        ("login hf_abcdefghijklmnopqrst done", "login *** done"),
        ("ghp_abcdefghijklmnopqrstuvwxyz012345", "***"),
        ("Authorization: Bearer abcdef.123456", "Authorization: Bearer ***"),
    ],
)
def test_credentials(text: str, expected: str) -> None:
    assert without_credentials(text) == expected
    assert ANN.text(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "tokenizers==0.19.1 TOKENIZERS_PARALLELISM=false max_tokens=512 sklearn-token==1.2.3",
        "git clone ssh-key of monkey: keys",
        "ubuntu:22.04@sha256:abcdef",
        "torch @ https://download.pytorch.org/whl/cu118/torch-2.7.1%2Bcu118-cp312.whl",
        "me@example.com",
    ],
)
def test_what_only_looks_like_credentials(text: str) -> None:
    assert without_credentials(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Serial Number                 : 1320920073", "Serial Number                 : ***"),
        ('"serial": "132-09"', '"serial": "***"'),
        ("Serial Number : N/A", "Serial Number : N/A"),
        ("/dev/disk/by-id/nvme-Samsung_SSD_990_S6Z1NX0W-part2 on /", "/dev/disk/by-id/*** on /"),
        ("link/ether 52:54:00:ab:cd:ef brd", "link/ether 00:00:00:00:00:00 brd"),
        ("http://10.1.2.3:3128 and 192.168.1.20.", "http://***:3128 and ***."),
        ("connect to 172.20.0.5 port 80; inet 10.0.0.7", "connect to *** port 80; inet ***"),
        ("NO_PROXY=10.0.0.0/8", "NO_PROXY=***/8"),
    ],
)
def test_serials_and_addresses(text: str, expected: str) -> None:
    assert ANN.text(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "535.183.01",
        "nvidia-curand-cu12==10.3.9.90",
        "10.3.9.90",
        "nvidia-cudnn-cu12 9.10.2.21, cuda 12.8.93",
        "172.15.0.1 172.32.0.1 8.8.8.8 127.0.0.1",
        "5.15.167.4-microsoft-standard-WSL2",
        "0000:01:00.0 00000000:C1:00.0 10de:2504",
        "fe80::5054:ff:feab:cdef",
        "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c",
        "sha256:4bc9d8e1f0aa00000000000000000000000000000000000000000000000000ff",
        "/usr/local/cuda-12.8/lib64/libcudart.so.12.8.90",
        "GPU-accelerated GPU-2080 MIG-1g.5gb",
    ],
)
def test_what_a_diagnosis_needs_stays(text: str) -> None:
    assert ANN.text(text) == text


def test_each_uuid_gets_a_number_of_its_own_and_keeps_it() -> None:
    redactor = Redactor()
    other = UUID.replace("8932", "0123")
    text = f"GPU-{UUID} MIG-{other} {UUID.upper()} MIG-GPU-{UUID}/1/0 pod{other}"
    one, two = (f"0000000{number}-0000-0000-0000-000000000000" for number in (1, 2))
    assert redactor.text(text) == f"GPU-{one} MIG-{two} {one} MIG-GPU-{one}/1/0 pod{two}"
    assert redactor.text("CUDA_VISIBLE_DEVICES=GPU-8932f937") == "CUDA_VISIBLE_DEVICES=GPU-00000001"


def machine() -> Snapshot:
    return Snapshot(
        system=System(os="linux", kernel="6.1.0", container=Container(kind="docker")),
        gpus=(Gpu(vendor="nvidia", name="NVIDIA A100", uuid=f"GPU-{UUID}", bus_id="0000:01:00.0"),),
        pythons=(
            PythonEnv(
                executable="/home/docker7/env/bin/python",
                prefix="/home/docker7/env",
                packages=(Package(name="docker7", version="535.183.01", location="/home/docker7/env/lib"),),
            ),
        ),
        variables=(
            Variable(name="CUDA_VISIBLE_DEVICES", value="GPU-8932f937"),
            Variable(name="KUBERNETES_SERVICE_HOST", value="10.96.0.1"),
        ),
        gaps=(Gap(probe="disks", fact="disks", kind="denied", detail="no permission to read /home/docker7/x"),),
        origins={"pythons[0]": "/home/docker7/env/pyvenv.cfg"},
    )


def test_a_whole_record_keeps_its_types_keys_and_names() -> None:
    hidden = Redactor("docker7", "linux", "/home/docker7").redact(machine())
    assert hidden.system == machine().system
    assert hidden.gpus[0] == Gpu(
        vendor="nvidia",
        name="NVIDIA A100",
        uuid="GPU-00000001-0000-0000-0000-000000000000",
        bus_id="0000:01:00.0",
    )
    assert hidden.python == PythonEnv(
        executable="~/env/bin/python",
        prefix="~/env",
        packages=(Package(name="docker7", version="535.183.01", location="~/env/lib"),),
    )
    assert hidden.variables == (
        Variable(name="CUDA_VISIBLE_DEVICES", value="GPU-00000001"),
        Variable(name="KUBERNETES_SERVICE_HOST", value="***"),
    )
    assert hidden.gaps == (Gap(probe="disks", fact="disks", kind="denied", detail="no permission to read ~/x"),)
    assert hidden.origins == {"pythons[0]": "~/env/pyvenv.cfg"}


def test_words_of_a_fixed_set_stay_whatever_the_machine_is_called() -> None:
    finding = Finding(
        id="DISK001",
        rule="safe7",
        severity="error",
        certainty="certain",
        title="safe7 is full",
        detail="",
        evidence=(Evidence(fact="safe7", value="safe7", source="safe7"),),
        fixes=(Fix(summary="x", commands=(("rm", "/home/ann/x"),), effect="safe", where="here"),),
        sources=(),
    )
    redactor = Redactor("here", "safe", "/home/ann")
    assert redactor.redact(finding).fixes == (Fix(summary="x", commands=(("rm", "~/x"),), effect="safe", where="here"),)
    hidden = Redactor("safe7", "", "").redact(finding)
    assert (hidden.rule, hidden.title) == ("safe7", "user is full")
    assert hidden.evidence == (Evidence(fact="safe7", value="user", source="user"),)


def test_variables_lose_secrets_by_name() -> None:
    environ = {"HF_TOKEN": "x", "HOME": "/home/annabella", "WANDB_API_KEY": "y", "NO_PROXY": "10.0.0.1,localhost"}
    assert ANN.environ(environ) == {"HOME": "~", "NO_PROXY": "***,localhost"}
    assert [is_secret(name) for name in ("MY_KEY", "DB_PASSWORD", "PATH", "TOKENIZERS_PARALLELISM")] == [
        True,
        True,
        False,
        False,
    ]


def test_bytes_keep_their_length_or_stay() -> None:
    table = b"\0/home/annabella/lib/x.so\0/scratch/annabella/y\0"
    redactor = Redactor("annabella", "", "/home/annabella", home_as="/home/userxxxxx", user_as="userxxxxx")
    assert redactor.data(table) == b"\0/home/userxxxxx/lib/x.so\0/scratch/userxxxxx/y\0"
    assert ANN.data(table) == table


def test_the_person_behind_an_environment() -> None:
    sudo = Redactor.of({"HOME": "/root", "USER": "root", "SUDO_USER": "annabella", "HOSTNAME": "thinkpad7"})
    assert sudo.text("/root/x /data/annabella/y on thinkpad7") == "~/x /data/user/y on host"
    windows = Redactor.of({"USERPROFILE": r"C:\Users\Bella", "COMPUTERNAME": "DESKTOP-7"})
    assert windows.text(r"C:\Users\Bella\x on DESKTOP-7 by Bella") == r"~\x on host by user"
    assert Redactor.of({}).text("/usr/bin/python") == "/usr/bin/python"


NAMES = st.sampled_from(
    ["root", "user", "annabella", "al", "max", "node7", "7", "x-y", "a.b", "torch", "über", "other"]
)
PIECES = st.sampled_from(
    [
        *"/ :@=.-_~*\\\n'\"",
        "home",
        "/home/",
        "Users",
        "https://",
        "annabella",
        "al",
        "node7",
        "user",
        "other",
        "***",
        "HF_TOKEN=",
        "token=",
        "hf_abcdefghijklmnopqrst",
        "Bearer ",
        "serial: ",
        UUID,
        "GPU-",
        "8932f937",
        "52:54:00:ab:cd:ef",
        "10.1.2.3",
        "192.168.7.7",
        "535.183.01",
        "/dev/disk/by-id/",
        "C:\\Users\\",
    ]
)
TEXTS = st.lists(PIECES | st.text(max_size=4), max_size=12).map("".join)
VERSIONS = st.from_regex(
    r"\A(0|[1-9][0-9]{0,2})(\.(0|[1-9][0-9]{0,2}|0[1-9])){1,3}((rc|\.dev|\.post)[0-9]|\+cu[0-9]{3})?\Z"
)


@given(user=NAMES, hostname=NAMES, text=TEXTS)
def test_doing_it_twice_changes_nothing(user: str, hostname: str, text: str) -> None:
    redactor = Redactor(user, hostname, f"/home/{user}")
    once = redactor.text(text)
    assert redactor.text(once) == once


@given(
    version=VERSIONS,
    user=NAMES.filter(lambda name: name != "7"),
    form=st.sampled_from(["{}", "torch=={}", "v{}", "libcuda.so.{}", "at {}, not"]),
)
def test_versions_are_never_changed(version: str, user: str, form: str) -> None:
    if version.startswith(("192.168.", *(f"172.{second}." for second in range(16, 32)))):
        return  # nobody numbers releases so; these are addresses
    text = form.format(version)
    assert Redactor(user, "node7", f"/home/{user}").text(text) == text


@given(text=TEXTS)
def test_no_name_or_secret_is_left(text: str) -> None:
    hidden = Redactor("annabella", "thinkpad7", "/home/annabella").text(
        f"{text} /home/annabella/x https://a:s3cret@h/ GPU-{UUID}"
    )
    assert "/home/annabella/" not in hidden
    assert "s3cret" not in hidden
    assert f"GPU-{UUID}" not in hidden
