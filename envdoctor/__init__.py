"""envdoctor: look at a machine, say what is wrong and why, and hand over an environment that is proven on it.

    >>> import envdoctor
    >>> envdoctor.diagnose()  # prints as the command does; in a notebook it shows the page

What is offered here is promised; everything below it is not. A part is imported when it is first used, because the
command line, which passes through this file, pays for each import. Type checkers read __init__.pyi.
"""

__version__ = "0.1.0"

_OFFERED = {
    "diagnose": "app.interface",
    "estimate_memory": "app.interface",
    "provision": "app.interface",
    "verify_environment": "app.interface",
    "speak": "app.interface",
    "Diagnosed": "app.interface",
    "Estimated": "app.interface",
    "Provisioned": "app.interface",
    "Verified": "app.interface",
    "EnvdoctorError": "errors",
    "NoStack": "errors",
}
__all__ = ["__version__", *_OFFERED]


def __getattr__(name: str) -> object:
    """Import what is offered when it is asked for."""
    if name not in _OFFERED:
        raise AttributeError(f"module 'envdoctor' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"envdoctor.{_OFFERED[name]}"), name)


def __dir__() -> list[str]:
    """Name what is offered, for the completion of an editor."""
    return sorted(__all__)
