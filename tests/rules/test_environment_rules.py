from __future__ import annotations

from typing import Any

import pytest
from judged import commands, only, raised, values
from machines import changed, env, package, torch, torch_env, workstation

from envdoctor.model.snapshot import Package, Snapshot

SITE = "/home/me/env/lib/python3.12/site-packages"


def python(**changes: Any) -> Snapshot:
    return workstation(pythons=(changed(torch_env(), **changes),))


# PY008


def test_the_python_on_path_is_not_the_active_environment() -> None:
    finding = only("PY008", python(path_prefix="/usr"))
    assert (finding.rule, finding.severity) == ("wrong-python-interpreter", "warning")
    assert finding.title == "VIRTUAL_ENV names /home/me/env, but the python on PATH belongs to /usr"
    assert values(finding)["pythons[0].path_prefix"] == "/usr"
    assert commands(finding) == ["/home/me/env/bin/python train.py"]


def test_the_pip_on_path_belongs_to_another_python() -> None:
    finding = only("PY008", python(pip_prefix="/opt/conda"))
    assert finding.title == "The pip on PATH belongs to /opt/conda, and the environment is /home/me/env"
    assert finding.severity == "warning"
    assert commands(finding) == ["/home/me/env/bin/python -m pip install NAME"]


def test_an_environment_of_uv_has_no_pip_of_its_own() -> None:
    finding = only("PY008", python(pip_prefix="/usr", packages=(package("torch", "2.8.0+cu128", installer="uv"),)))
    assert finding.severity == "note"
    assert commands(finding) == ["uv pip install --python /home/me/env/bin/python NAME"]


@pytest.mark.parametrize(
    "machine",
    [
        workstation(),
        python(pip_prefix="/usr", path_prefix="/usr", selected_by="--python"),  # the environment that was asked about
        python(pip_prefix="/usr", path_prefix="/usr", selected_by="report"),
        python(pip_prefix=None, path_prefix=None),
        python(prefix="/home/me/env/"),
        # conda's base below a venv: VIRTUAL_ENV wins, and PATH has it first.
        python(base_prefix="/opt/conda"),
        python(prefix="/usr", pip_prefix="/usr/local", path_prefix="/usr", selected_by="PATH", manager="system"),
        workstation(pythons=()),
    ],
)
def test_one_installation_is_silent(machine: Snapshot) -> None:
    assert raised("PY008", machine) == ()


# PY009


def there(*packages: Package) -> Snapshot:
    return python(packages=packages)


def test_two_versions_in_one_folder_are_an_error() -> None:
    finding = only(
        "PY009",
        there(package("numpy", "1.26.4", location=SITE), package("numpy", "2.2.6", location=SITE)),
    )
    assert (finding.rule, finding.severity, finding.certainty) == ("distribution-installed-twice", "error", "certain")
    assert finding.title == "numpy (1.26.4 and 2.2.6) is installed twice in one folder"
    assert [each.value for each in finding.evidence] == ["1.26.4", "2.2.6"]
    remove, again, install = commands(finding)
    assert remove == again == "/home/me/env/bin/python -m pip uninstall --yes numpy"
    assert install == "/home/me/env/bin/python -m pip install numpy"


def test_metadata_folders_named_one_by_one_lie_in_one_folder() -> None:
    one, two = (package("six", v, location=f"{SITE}/six-{v}.dist-info") for v in ("1.16.0", "1.17.0"))
    assert only("PY009", there(one, two)).severity == "error"


def test_two_folders_with_different_versions_are_a_warning() -> None:
    finding = only(
        "PY009",
        there(
            package("numpy", "1.26.4", location=SITE),
            package("numpy", "2.2.6", location=SITE.replace("/lib/", "/lib64/")),
        ),
    )
    assert finding.severity == "warning"
    assert "in two folders" in finding.title


@pytest.mark.parametrize(
    "machine",
    [
        workstation(),
        # An editable install, and one folder reached by two names.
        there(package("mine", "0.1", location=SITE), package("mine", "0.1", location=SITE)),
        there(package("six", "1.17.0", location=SITE), package("six", "1.17.0", location=SITE.replace("lib", "lib64"))),
        # Debian's own packages below a venv that sees them, and pip's over Debian's.
        there(
            package("six", "1.17.0", location=SITE),
            package("six", "1.16.0", location="/usr/lib/python3/dist-packages"),
        ),
        python(
            prefix="/usr",
            packages=(
                package("six", "1.17.0", location="/usr/local/lib/python3.12/dist-packages"),
                package("six", "1.16.0", location="/usr/lib/python3/dist-packages"),
            ),
        ),
        # A venv that covers its base's packages.
        there(
            package("six", "1.17.0", location=SITE),
            package("six", "1.16.0", location="/opt/python/lib/python3.12/site-packages"),
        ),
        # conda's own list beside pip's view of it.
        there(
            package("numpy", "2.2.6", location=SITE, installer="conda"),
            package("numpy", "2.2.5", location="/home/me/env/conda-meta", installer="conda", build="py312h_0"),
        ),
        there(package("six", "1.17.0", location=None), package("six", "1.16.0", location=None)),
    ],
)
def test_one_version_is_silent(machine: Snapshot) -> None:
    assert raised("PY009", machine) == ()


# PY013


def conda(name: str, version: str) -> Package:
    return package(name, version, installer="conda", build="py312h_0", location="/home/me/env/conda-meta")


def mixed(*packages: Package) -> Snapshot:
    return workstation(pythons=(env(torch("2.8.0", "12.8"), packages=packages, manager="conda"),))


def test_pip_over_condas_torch() -> None:
    finding = only("PY013", mixed(package("torch", "2.8.0+cu128"), conda("pytorch", "2.5.1")))
    assert (finding.rule, finding.severity, finding.certainty) == ("conda-pip-mixed", "warning", "likely")
    assert finding.title == "conda and pip both installed torch (2.5.1 by conda, 2.8.0+cu128 by pip)"
    assert [each.value for each in finding.evidence] == ["2.5.1", "2.8.0+cu128"]
    assert commands(finding) == ["envdoctor provision"]


def test_uv_over_condas_numpy() -> None:
    machine = mixed(package("numpy", "2.2.6", installer="uv"), conda("numpy", "1.26.4"))
    assert "numpy (1.26.4 by conda, 2.2.6 by pip)" in only("PY013", machine).title


@pytest.mark.parametrize(
    "packages",
    [
        (package("torch", "2.8.0"), package("numpy", "2.2.6")),  # pip alone, in a conda environment: the supported way
        (package("numpy", "2.2.6", installer="conda"), conda("numpy", "2.2.6")),
        (package("numpy", "2.2.6"), conda("numpy", "2.2.6")),
        (package("requests", "2.32.0"), conda("requests", "2.31.0")),  # has no compiled part
        (package("numpy", "2.2.6", installer=None), conda("numpy", "1.26.4")),  # who installed it, is not known
        (conda("pytorch", "2.5.1"),),
    ],
)
def test_one_owner_is_silent(packages: tuple[Package, ...]) -> None:
    assert raised("PY013", mixed(*packages)) == ()
