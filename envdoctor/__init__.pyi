from envdoctor.app.interface import (
    Diagnosed,
    Estimated,
    Provisioned,
    Verified,
    diagnose,
    estimate_memory,
    provision,
    speak,
    verify_environment,
)
from envdoctor.errors import EnvdoctorError, NoStack

__version__: str
__all__ = [
    "Diagnosed",
    "EnvdoctorError",
    "Estimated",
    "NoStack",
    "Provisioned",
    "Verified",
    "__version__",
    "diagnose",
    "estimate_memory",
    "provision",
    "speak",
    "verify_environment",
]
