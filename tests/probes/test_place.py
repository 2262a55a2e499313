import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from envdoctor.errors import UsageProblem
from envdoctor.host import Completed
from envdoctor.host.local import LocalHost
from envdoctor.host.recorded import RecordedHost, Recording
from envdoctor.probes import commands, prefixes
from envdoctor.probes.place import locate

SYSTEM_FILES = {
    "/usr/lib/python3/dist-packages/six-1.16.0.egg-info": "",
    "/usr/local/lib/python3.11/dist-packages/a.py": "",
    "/usr/lib/python3.11/os.py": "",
    "/usr/lib/python3.12/os.py": "",
}


def machine(
    files: dict[str, str] | None = None,
    executables: tuple[str, ...] = (),
    links: dict[str, str] | None = None,
    environ: dict[str, str] | None = None,
    commands: dict[str, Completed] | None = None,
) -> RecordedHost:
    return RecordedHost(
        Recording(
            environ=environ or {},
            files={**SYSTEM_FILES, **(files or {})},
            executables=("/usr/bin/python3.11", *executables),
            links={"/usr/bin/python3": "python3.11", "/bin": "usr/bin", **(links or {})},
            commands=commands or {},
        )
    )


def venv(path: str, cfg: str) -> tuple[dict[str, str], dict[str, str]]:
    return (
        {f"{path}/pyvenv.cfg": cfg, f"{path}/lib/python3.11/site-packages/a.py": ""},
        {f"{path}/bin/python": "/usr/bin/python3.11", f"{path}/bin/python3": "python", f"{path}/lib64": "lib"},
    )


def test_the_first_python_on_path_is_debians() -> None:
    place = locate(machine(environ={"PATH": "/usr/local/bin:/usr/bin"}), None)

    assert place is not None
    assert (place.executable, place.prefix, place.manager, place.selected_by) == (
        "/usr/bin/python3",
        "/usr",
        "system",
        "PATH",
    )
    assert place.version == "3.11"
    assert place.site_dirs == ("/usr/local/lib/python3.11/dist-packages", "/usr/lib/python3/dist-packages")


def test_the_user_site_comes_before_the_systems_unless_it_is_switched_off() -> None:
    user = "/home/u/.local/lib/python3.11/site-packages"
    files = {f"{user}/a.py": ""}

    on = locate(machine(files, environ={"HOME": "/home/u"}), None)
    off = locate(machine(files, environ={"HOME": "/home/u", "PYTHONNOUSERSITE": "1"}), None)

    assert on is not None and off is not None
    assert on.site_dirs[0] == user
    assert user not in off.site_dirs and len(off.site_dirs) == 2


def test_a_virtual_environment_is_alone_with_its_packages() -> None:
    files, links = venv("/w/env", "home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.11.2\n")
    files["/home/u/.local/lib/python3.11/site-packages/a.py"] = ""
    host = machine(files, links=links, environ={"VIRTUAL_ENV": "/w/env", "CONDA_PREFIX": "/c", "HOME": "/home/u"})

    place = locate(host, None)

    assert place is not None
    assert (place.prefix, place.base_prefix, place.version) == ("/w/env", "/usr", "3.11.2")
    assert (place.manager, place.selected_by) == ("venv", "VIRTUAL_ENV")
    assert place.site_dirs == ("/w/env/lib/python3.11/site-packages",)


def test_a_virtual_environment_with_the_systems_packages_sees_user_and_system_after_its_own() -> None:
    files, links = venv(
        "/w/env", "home = /usr/bin\ninclude-system-site-packages = true\nversion_info = 3.11.2.final.0\n"
    )
    files["/home/u/.local/lib/python3.11/site-packages/a.py"] = ""

    place = locate(machine(files, links=links, environ={"HOME": "/home/u"}), "/w/env/bin/python")

    assert place is not None
    assert place.version == "3.11.2"
    assert place.site_dirs == (
        "/w/env/lib/python3.11/site-packages",
        "/home/u/.local/lib/python3.11/site-packages",
        "/usr/local/lib/python3.11/dist-packages",
        "/usr/lib/python3/dist-packages",
    )


def test_a_link_to_an_environments_python_is_the_base_as_for_python_itself() -> None:
    files, links = venv("/w/env", "home = /usr/bin\nversion = 3.11.2\n")
    links["/home/u/bin/python3"] = "/w/env/bin/python"

    place = locate(machine(files, links=links), "/home/u/bin/python3")

    assert place is not None and place.prefix == "/usr"


def test_an_environment_whose_python_was_removed_can_still_be_read() -> None:
    files = {"/w/env/pyvenv.cfg": "home = /opt/gone/bin\nversion = 3.10.9", "/w/env/lib/python3.10/site-packages/a": ""}
    host = machine(files, links={"/w/env/bin/python": "/opt/gone/bin/python3.10"}, environ={"VIRTUAL_ENV": "/w/env"})

    place = locate(host, None)

    assert place is not None
    assert (place.executable, place.version, place.base_prefix) == ("/w/env/bin/python", "3.10.9", "/opt/gone")
    with pytest.raises(UsageProblem, match="no Python environment"):
        locate(host, "/w/env")


def test_conda_is_read_from_its_records() -> None:
    files = {
        "/c/envs/dl/conda-meta/python-3.12.4-h99910a6_1_cpython.json": "{}",
        "/c/envs/dl/conda-meta/python-dateutil-2.9.0-pyhd8ed1ab_0.json": "{}",
        "/c/envs/dl/lib/python3.12/site-packages/a.py": "",
    }
    host = machine(
        files,
        executables=("/c/envs/dl/bin/python3.12",),
        links={"/c/envs/dl/bin/python": "python3.12"},
        environ={"CONDA_PREFIX": "/c/envs/dl/", "PATH": "/usr/bin"},
    )

    place = locate(host, None)

    assert place is not None
    assert (place.executable, place.version, place.manager) == ("/c/envs/dl/bin/python", "3.12.4", "conda")
    assert (place.prefix, place.selected_by) == ("/c/envs/dl", "CONDA_PREFIX")
    assert place.site_dirs == ("/c/envs/dl/lib/python3.12/site-packages",)


PYENV = {
    "/home/u/.pyenv/shims/python3": "#!/usr/bin/env bash\nexec pyenv exec python3",
    "/home/u/.pyenv/version": "3.10.13\n",
    "/home/u/.pyenv/versions/3.10.13/lib/python3.10/site-packages/a.py": "",
    "/home/u/.pyenv/versions/3.12.1/lib/python3.12/site-packages/a.py": "",
    "/home/u/.pyenv/versions/3.12.10/lib/python3.12/site-packages/a.py": "",
}
PYENV_PROGRAMS = (
    "/home/u/.pyenv/shims/python3",
    "/home/u/.pyenv/versions/3.10.13/bin/python3.10",
    "/home/u/.pyenv/versions/3.12.1/bin/python3.12",
    "/home/u/.pyenv/versions/3.12.10/bin/python3.12",
)
PYENV_LINKS = {
    f"/home/u/.pyenv/versions/{v}/bin/python3": f"python{v.rpartition('.')[0]}"
    for v in ("3.10.13", "3.12.1", "3.12.10")
}


@pytest.mark.parametrize(
    ("environ", "local", "version", "manager"),
    [
        ({}, None, "3.10.13", "pyenv"),
        ({"PYENV_VERSION": "3.12.1"}, None, "3.12.1", "pyenv"),
        ({"PYENV_VERSION": "3.12"}, None, "3.12.10", "pyenv"),
        ({"PWD": "/w/project/src"}, "3.12.1 # for the project\n", "3.12.1", "pyenv"),
        ({"PYENV_VERSION": "system"}, None, "3.11", "system"),
        ({"PYENV_VERSION": "3.9.99"}, None, "3.11", "system"),
    ],
)
def test_a_pyenv_shim_leads_to_the_version_that_pyenv_would_take(
    environ: dict[str, str], local: str | None, version: str, manager: str
) -> None:
    files = {**PYENV, **({"/w/project/.python-version": local} if local else {})}
    path = {"PATH": "/home/u/.pyenv/shims:/usr/bin"}

    place = locate(machine(files, PYENV_PROGRAMS, PYENV_LINKS, environ={**path, **environ}), None)

    assert place is not None
    assert (place.version, place.manager) == (version, manager)


def test_a_python_of_uv_is_named_by_its_folder() -> None:
    home = "/home/u/.local/share/uv/python/cpython-3.13.1-linux-x86_64-gnu"
    host = machine(
        {f"{home}/lib/python3.13/site-packages/pip/__init__.py": ""},
        (f"{home}/bin/python3.13",),
        {"/home/u/.local/bin/python3.13": f"{home}/bin/python3.13"},
    )

    place = locate(host, "/home/u/.local/bin/python3.13")

    assert place is not None
    assert (place.prefix, place.version, place.manager) == (home, "3.13.1", "other")


def test_a_release_is_read_from_the_header_of_a_python_built_in_usr_local() -> None:
    host = machine(
        {
            "/usr/local/lib/python3.12/site-packages/a": "",
            "/usr/local/include/python3.12/patchlevel.h": '#define PY_VERSION      "3.12.7"\n',
        },
        ("/usr/local/bin/python3.12",),
        {"/usr/local/bin/python3": "python3.12"},
    )

    place = locate(host, None)

    assert place is not None
    assert (place.version, place.site_dirs) == ("3.12.7", ("/usr/local/lib/python3.12/site-packages",))


@pytest.mark.parametrize(
    ("prefix", "extra"),
    [
        ("/home/u/.cache/uv/archive-v0/Xy", {}),
        ("/home/u/.local/share/uv/tools/envdoctor", {"uv-receipt.toml": ""}),
        ("/home/u/.local/share/pipx/venvs/envdoctor", {"pipx_metadata.json": "{}"}),
    ],
)
def test_an_environment_made_for_one_tool_is_not_judged_because_it_is_first_on_path(
    prefix: str, extra: dict[str, str]
) -> None:
    files, links = venv(prefix, "home = /usr/bin\nversion = 3.11.2\n")
    files.update({f"{prefix}/{name}": content for name, content in extra.items()})
    path = {"PATH": f"{prefix}/bin:/usr/bin"}

    by_path = locate(machine(files, links=links, environ=path), None)
    active = locate(machine(files, links=links, environ={**path, "VIRTUAL_ENV": prefix}), None)

    assert by_path is not None and by_path.prefix == "/usr"
    assert active is not None and active.prefix == prefix


def test_a_python_behind_a_script_is_asked() -> None:
    answer = (
        '{"version":"3.9.2","prefix":"/o/py","base_prefix":"/o/py","binary":"/o/py/bin/py3","site_dirs":["/o/py/site"]}'
    )
    argv = " ".join(("/o/bin/python3", "-I", "-c", prefixes._ASK))
    files = {"/o/bin/python3": "#!/bin/sh\nexec /o/py/bin/py3", "/o/py/site/a.py": ""}
    host = machine(
        files, ("/o/bin/python3",), commands={argv: Completed(returncode=0, stdout=answer, stderr="")}, environ={}
    )

    place = locate(host, "/o/bin/python3")

    assert place is not None
    assert (place.version, place.prefix, place.binary) == ("3.9.2", "/o/py", "/o/py/bin/py3")
    assert place.site_dirs == ("/o/py/site",)


@pytest.mark.parametrize("answer", ["", "not json", '{"version": 3}', "[]"])
def test_a_python_that_answers_nonsense_is_none(answer: str) -> None:
    argv = " ".join(("/o/bin/python3", "-I", "-c", prefixes._ASK))
    files = {"/o/bin/python3": "#!/bin/sh\n"}
    host = machine(files, ("/o/bin/python3",), commands={argv: Completed(returncode=0, stdout=answer, stderr="")})

    with pytest.raises(UsageProblem, match="not a Python interpreter"):
        locate(host, "/o/bin/python3")


def test_what_is_no_python_is_said_so_and_never_started() -> None:
    class Alarmed(RecordedHost):
        def run(self, argv: tuple[str, ...], timeout: float, environ: Mapping[str, str] | None = None) -> Completed:
            raise AssertionError(argv)

    host = Alarmed(Recording(executables=("/usr/bin/rm",), folders=("/w/empty",)))

    with pytest.raises(UsageProblem, match="not a Python interpreter"):
        locate(host, "/usr/bin/rm")
    with pytest.raises(UsageProblem, match="no such file"):
        locate(host, "/w/nothing")
    with pytest.raises(UsageProblem, match="no Python environment in this folder"):
        locate(host, "/w/empty")


def test_a_machine_without_python_has_none() -> None:
    assert locate(RecordedHost(Recording()), None) is None


def test_scripts_name_their_interpreter_in_three_ways() -> None:
    long = "/very/long/env with space/bin/python"
    host = machine(
        {
            "/s/plain": "#!/w/env/bin/python3.11 -s\nimport pip",
            "/s/env": "#!/usr/bin/env -S python3\n",
            "/s/long": f"#!/bin/sh\n'''exec' \"{long}\" \"$0\" \"$@\"\n' '''\n",
            "/s/none": "echo",
        },
        environ={"PATH": "/usr/bin"},
    )

    assert commands.interpreter_of(host, "/s/plain") == "/w/env/bin/python3.11"
    assert commands.interpreter_of(host, "/s/env") == "/usr/bin/python3"
    assert commands.interpreter_of(host, "/s/long") == long
    assert commands.interpreter_of(host, "/s/none") is None
    assert commands.interpreter_of(host, "/s/missing") is None


@pytest.fixture(scope="module")
def real_venv(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("real") / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(path)], check=True)
    return str(path)


def test_a_real_environment_is_read_as_it_tells_itself(real_venv: str) -> None:
    host = LocalHost(environ={**os.environ, "VIRTUAL_ENV": real_venv})

    read = locate(host, None)
    asked = prefixes.ask(host, f"{real_venv}/bin/python", "VIRTUAL_ENV")

    assert read is not None and asked is not None
    for field in ("executable", "prefix", "base_prefix", "version", "manager", "site_dirs"):
        assert getattr(read, field) == getattr(asked, field), field


def test_the_choice_does_not_depend_on_the_python_that_runs_envdoctor(real_venv: str) -> None:
    host = LocalHost(environ={"PATH": f"{real_venv}/bin:/usr/bin"})

    place = locate(host, None)

    assert place is not None and place.prefix == os.path.realpath(real_venv) != os.path.realpath(sys.prefix)


def test_a_real_relative_path_and_a_copied_python_are_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--copies", "--without-pip", str(tmp_path / "c")], check=True)
    monkeypatch.chdir(tmp_path)

    place = locate(LocalHost(), "c")

    assert place is not None
    assert place.base_prefix == os.path.realpath(sys.base_prefix)
    assert place.version == ".".join(map(str, sys.version_info[:3]))
