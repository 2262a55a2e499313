"""Every exit status and the exception that leads to it, in one place."""

from __future__ import annotations

FINE = 0
FINDINGS = 1
USAGE = 2
UNREADABLE = 3
NO_STACK = 4
NOT_VERIFIED = 5
NOT_FIXED = 6
CANNOT_RUN = 126  # of `run` alone, which otherwise ends as its program did; as shells and `env` do
NO_PROGRAM = 127
INTERRUPTED = 130


class EnvdoctorError(Exception):
    """Something a person can act on: one line of what happened, and one of what to do.

    `status` is the exit status of the process. The message is shown as it is, so it names the thing and quotes no code.
    """

    status = UNREADABLE

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageProblem(EnvdoctorError):
    """The words of the command do not fit together, in a way that click cannot see."""

    status = USAGE


class Unreadable(EnvdoctorError):
    """The machine or the file could not be examined, or a result could not be written."""

    status = UNREADABLE


class NoStack(EnvdoctorError):
    """No published stack satisfies the request on that machine."""

    status = NO_STACK


class NotVerified(EnvdoctorError):
    """The environment was made, but a workload did not pass in it, or it could not be made."""

    status = NOT_VERIFIED


class NotFixed(EnvdoctorError):
    """A step of `diagnose --fix` failed; what it had changed by then is said with how to go back."""

    status = NOT_FIXED


class NotStarted(EnvdoctorError):
    """The program that was to be watched could not be started."""

    def __init__(self, message: str, hint: str | None, status: int) -> None:
        super().__init__(message, hint)
        self.status = status


class MissingPart(EnvdoctorError):
    """A command needs an optional part of envdoctor, or a program, that is not installed."""

    status = UNREADABLE
