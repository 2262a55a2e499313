"""TensorFlow's tf_env_collect.sh, and what it and its build information say of the build."""

from __future__ import annotations

import re

from envdoctor.model.snapshot import Snapshot
from envdoctor.readers.software import cuda_of, environment, framework, version_in

ORIGIN = "report: TensorFlow"
_VERSION = re.compile(r"^(?:tf\.version\.VERSION|tf\.__version__)\s{0,3}=\s{0,3}(\S{1,60})", re.MULTILINE)
_BUILD = re.compile(r"cuda_version['\"]?\]?\s{0,3}[=:]\s{0,3}['\"]?(\d{1,2}\.\d)")
_WITHOUT = re.compile(r"is_built_with_cuda\(\)\)?\s{0,3}(?:=|is|:|->|\n|returns?)?\s{0,3}(?:\n\s{0,3})?False")


def sniff(text: str) -> bool:
    """Tell whether TensorFlow told of itself."""
    return "tf.version.VERSION" in text or "tf.__version__" in text or "is_built_with_cuda" in text


def read(text: str) -> Snapshot:
    """Read the version and what it was built for."""
    version, build = _VERSION.search(text), _BUILD.search(text)
    number = version_in(version[1]) if version else None
    if number is None:
        return Snapshot()
    one = framework("tensorflow", number, cuda_of(build[1]) if build else None, cpu=bool(_WITHOUT.search(text)))
    return environment(ORIGIN, frameworks=(one,))
