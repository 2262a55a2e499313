"""The environment variables that change how frameworks, pip and the loader behave."""

from __future__ import annotations

from envdoctor.host import Host
from envdoctor.model.redaction import is_secret, without_credentials
from envdoctor.model.snapshot import Snapshot, Variable
from envdoctor.probes import Place, Probe

_NAMES = """
LD_LIBRARY_PATH LD_PRELOAD
VIRTUAL_ENV CONDA_PREFIX CONDA_DEFAULT_ENV CONDA_SHLVL CONDA_OVERRIDE_CUDA
PYTHONPATH PYTHONHOME PYTHONNOUSERSITE PYTHONUSERBASE
CUDACXX CUDAHOSTCXX NVCC_CCBIN CC CXX MAX_JOBS BNB_CUDA_VERSION
OMP_NUM_THREADS MKL_NUM_THREADS OPENBLAS_NUM_THREADS NUMEXPR_NUM_THREADS
HF_ENDPOINT HF_HOME HF_HUB_CACHE HF_HUB_OFFLINE HF_DATASETS_OFFLINE HF_XET_CACHE TRANSFORMERS_OFFLINE
HSA_OVERRIDE_GFX_VERSION HIP_VISIBLE_DEVICES ROCR_VISIBLE_DEVICES GPU_DEVICE_ORDINAL ROCM_PATH HIP_PATH
ZE_AFFINITY_MASK ONEAPI_DEVICE_SELECTOR
SLURM_JOB_ID KUBERNETES_SERVICE_HOST TORCHELASTIC_RUN_ID LOCAL_RANK WORLD_SIZE
SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE
TMPDIR XDG_CACHE_HOME WSL_DISTRO_NAME WSLENV
"""
NAMES = frozenset(_NAMES.split())
_PREFIXES = """
CUDA_ NVIDIA_ NCCL_ PYTORCH_ TORCH_ XLA_ JAX_ TRITON_ PIP_ UV_
TF_CPP_ TF_CUDNN_ TF_DETERMINISTIC_ TF_ENABLE_ TF_FORCE_ TF_GPU_ TF_NUM_ TF_USE_ TF_XLA_
"""  # TensorFlow's, one by one: TF_VAR_ and TF_CLI_ are Terraform's and hold passwords
PREFIXES = tuple(_PREFIXES.split())
# Their values are paths; those of the loader and of PIP_FIND_LINKS are lists.
_PATHS = frozenset(
    "CUDA_HOME CUDA_PATH CUDA_ROOT CUDACXX SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE PIP_CERT "  # noqa: SIM905
    "PIP_CONSTRAINT PIP_CONFIG_FILE LD_PRELOAD".split()
)


def read(host: Host, place: Place | None) -> Snapshot:
    """Give the variables that matter, sorted, without credentials in their values."""
    del place
    return Snapshot(
        variables=tuple(
            Variable(name=name, value=without_credentials(host.environ[name]), missing=_missing(host, name))
            for name in sorted(host.environ)
            if matters(name)
        ),
        origins={"variables": "environment"},
    )


PROBE = Probe("variables", ("variables",), read)


def _missing(host: Host, name: str) -> str | None:
    """Give the first absolute path in the value of a variable of paths where nothing stands."""
    if name not in _PATHS:
        return None
    for path in host.environ[name].replace(":", " ").split() if name == "LD_PRELOAD" else (host.environ[name],):
        try:
            if path.startswith("/") and host.kind(path) is None:
                return path
        except OSError:  # a folder above it is closed: not known to be missing
            continue
    return None


def matters(name: str) -> bool:
    """Tell whether a variable belongs into a Snapshot; one whose name speaks of a secret never does.

    >>> matters("CUDA_VISIBLE_DEVICES"), matters("https_proxy"), matters("UV_INDEX_ACME_PASSWORD"), matters("EDITOR")
    (True, True, False, False)
    """
    if is_secret(name):
        return False
    return name in NAMES or name.startswith(PREFIXES) or name.upper().endswith("_PROXY")
