"""Which variables are kept, and that no secret ever is."""

from __future__ import annotations

import pytest

from envdoctor.host.recorded import RecordedHost, Recording
from envdoctor.model.snapshot import Variable
from envdoctor.probes.variables import PROBE, matters

NEEDED = """
CUDA_HOME CUDA_DEVICE_ORDER LD_PRELOAD NVIDIA_VISIBLE_DEVICES VIRTUAL_ENV CONDA_PREFIX PYTHONPATH PYTHONHOME
MKL_NUM_THREADS PYTORCH_CUDA_ALLOC_CONF PYTORCH_ALLOC_CONF XLA_PYTHON_CLIENT_PREALLOCATE JAX_PLATFORMS HF_ENDPOINT
HF_HUB_OFFLINE SLURM_JOB_ID KUBERNETES_SERVICE_HOST TORCHELASTIC_RUN_ID HSA_OVERRIDE_GFX_VERSION
HIP_VISIBLE_DEVICES PIP_INDEX_URL PIP_CONSTRAINT UV_INDEX_URL https_proxy NO_PROXY SSL_CERT_FILE
REQUESTS_CA_BUNDLE TMPDIR MAX_JOBS CUDACXX
"""
LEFT_OUT = """
HF_TOKEN NVIDIA_API_KEY UV_INDEX_ACME_PASSWORD UV_PUBLISH_TOKEN PIP_INDEX_SECRET AWS_SECRET_ACCESS_KEY USER HOME
HOSTNAME TF_VAR_database TF_CLI_CONFIG_FILE PATH
"""


def test_what_matters_is_kept_sorted_and_the_rest_is_not() -> None:
    environ = {
        "PATH": "/usr/bin",
        "EDITOR": "vi",
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "LD_LIBRARY_PATH": "/usr/local/cuda/lib64:/opt/x",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    }
    snapshot = PROBE.read(RecordedHost(Recording(environ=environ)), None)
    assert snapshot.variables == (
        Variable(name="CUDA_VISIBLE_DEVICES", value=""),
        Variable(name="LD_LIBRARY_PATH", value="/usr/local/cuda/lib64:/opt/x"),
        Variable(name="OMP_NUM_THREADS", value="1"),
        Variable(name="TF_FORCE_GPU_ALLOW_GROWTH", value="true"),
    )
    assert snapshot.variable("CUDA_VISIBLE_DEVICES") == ""
    assert snapshot.variable("CUDA_HOME") is None
    assert snapshot.evidence("variables.OMP_NUM_THREADS")[0].source == "environment"


@pytest.mark.parametrize(
    "name",
    NEEDED.split(),
)
def test_the_rules_find_their_variables(name: str) -> None:
    assert matters(name)


@pytest.mark.parametrize(
    "name",
    LEFT_OUT.split(),
)
def test_secrets_and_persons_are_left_out(name: str) -> None:
    assert not matters(name)


def test_credentials_in_values_are_cut() -> None:
    environ = {
        "PIP_INDEX_URL": "https://ann:s3cret@pip.example.com/simple",
        "PIP_EXTRA_INDEX_URL": "https://a:b@x.example.com/s https://download.pytorch.org/whl/cu118",
        "https_proxy": "ann:s3cret@proxy.example.com:3128",
        "UV_DEFAULT_INDEX": "https://pip.example.com/simple?token=s3cret",
    }
    snapshot = PROBE.read(RecordedHost(Recording(environ=environ)), None)
    assert {each.name: each.value for each in snapshot.variables} == {
        "PIP_INDEX_URL": "https://***@pip.example.com/simple",
        "PIP_EXTRA_INDEX_URL": "https://***@x.example.com/s https://download.pytorch.org/whl/cu118",
        "https_proxy": "***@proxy.example.com:3128",
        "UV_DEFAULT_INDEX": "https://pip.example.com/simple?token=***",
    }
