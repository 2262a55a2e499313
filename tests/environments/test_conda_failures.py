"""What conda and its kin print when they fail becomes one line and a next step."""

from __future__ import annotations

import pytest

from envdoctor import errors
from envdoctor.environments.conda_failures import failure
from envdoctor.environments.embedded import installer

UNSATISFIABLE = """Locking dependencies for ['linux-64']...
Could not lock the environment for platform linux-64
UnsatisfiableError: Cannot solve the request because of: pytorch ==2.1.2 cuda118* cannot be installed because:
├─ pytorch 2.1.2 would require
│  └─ __cuda >=11.8, for which no candidates were found.
└─ pytorch 2.1.2 would require
   └─ python >=3.10,<3.11.0a0, for which no candidates were found.
    Command: ['/usr/bin/conda', 'create']
Traceback (most recent call last):
  File "conda_lock.py", line 1
subprocess.CalledProcessError: Command '['/usr/bin/conda']' returned non-zero exit status 1."""
CONDA_HTTP = """Collecting package metadata (repodata.json): failed

CondaHTTPError: HTTP 000 CONNECTION FAILED for url <https://conda.anaconda.org/conda-forge/linux-64/repodata.json>
Elapsed: -

An HTTP error occurred when trying to retrieve this URL."""
LIBMAMBA = """error    libmamba Could not solve for environment specs
    The following package could not be installed
    └─ pytorch 2.9.9** does not exist (perhaps a typo or a missing channel)."""


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        (UNSATISFIABLE, errors.NoStack, ("linux-64", "__cuda >=11.8, for which no candidates", "--manager venv")),
        (LIBMAMBA, errors.NoStack, ("pytorch 2.9.9** does not exist",)),
        (CONDA_HTTP, errors.Unreadable, ("https://conda.anaconda.org/conda-forge/linux-64/", "cannot be reached")),
        ("OSError: [Errno 28] No space left on device: '/x'", errors.Unreadable, ("the disk is full", "free some")),
        ("ERROR: wrong hash: file:///a has md5 1, not 2", errors.Unreadable, ("wrong hash: file:///a", "do not use")),
        ("ChecksumMismatchError: Conda detected a mismatch", errors.Unreadable, ("Conda detected a mismatch",)),
        ("Segmentation fault", errors.NotVerified, ("Segmentation fault", "log")),
        ("", errors.NotVerified, ("it said nothing",)),
    ],
)
def test_a_failure(said: str, kind: type[errors.EnvdoctorError], words: tuple[str, ...]) -> None:
    found = failure(said.splitlines(), "linux-64")
    text = f"{found.message} {found.hint}"
    assert type(found) is kind and all(word in text for word in words), text
    assert "\n" not in text and "Traceback" not in text and "Command" not in text and "  " not in text


def test_an_explicit_list() -> None:
    md5, sha = "a" * 32, "B" * 64
    found = installer.entries(f"# x\n@EXPLICIT\nhttps://h/c/linux-64/a%20b-1-0.conda#{md5}\nfile:///d#sha256:{sha}\n")
    assert [(each.algorithm, each.digest) for each in found] == [("md5", md5), ("sha256", sha.lower())]
    assert found[0].file_name == "a b-1-0.conda"
    for bad in ("", "#", "#abc", "#" + "z" * 32):
        with pytest.raises(installer.Refused, match="no hash"):
            installer.entries(f"https://h/x.conda{bad}")
