"""The command line: one file per command; options, one call of `app`, one of `report`, an exit status."""

from __future__ import annotations

import sys

from envdoctor import errors
from envdoctor.model.speech import say


def run(arguments: list[str]) -> int:
    """Run one command and give its exit status; no traceback ever reaches a person."""
    import os

    from envdoctor.cli import language

    language.choose(arguments, os.environ)
    import click

    from envdoctor.cli.commands import envdoctor

    try:
        # Not standalone, so that every problem is said in one form, and a status is given back.
        status = language.translated(envdoctor).main(arguments, prog_name="envdoctor", standalone_mode=False)
        return status if isinstance(status, int) else errors.FINE
    except click.exceptions.NoArgsIsHelpError as asked:
        asked.show()
        return errors.USAGE
    except click.ClickException as problem:
        context = getattr(problem, "ctx", None)
        _say(
            problem.format_message(),
            say("see `{command_path} --help`", command_path=context.command_path) if context else None,
        )
        return problem.exit_code
    except click.Abort:  # what click makes of Ctrl-C
        _say("interrupted", None)
        return errors.INTERRUPTED
    except SystemExit as leaving:
        return (
            leaving.code
            if isinstance(leaving.code, int)
            else errors.FINE
            if leaving.code is None
            else errors.UNREADABLE
        )
    except errors.EnvdoctorError as problem:
        _say(problem.message, problem.hint)
        return problem.status
    except KeyboardInterrupt:
        _say("interrupted", None)
        return errors.INTERRUPTED
    except OSError as problem:
        _say(f"{problem.strerror or problem}{f': {problem.filename}' if problem.filename else ''}", None)
        return errors.UNREADABLE
    except Exception as problem:
        _say(
            say("a defect of envdoctor itself: {kind}: {problem}", kind=type(problem).__name__, problem=problem),
            say("please report it with {trace}", trace=_trace()),
        )
        return errors.UNREADABLE


def _say(message: str, hint: str | None) -> None:
    from envdoctor.cli.options import harmless

    lines = [say("envdoctor: {message}", message=message)] + ([f"  {hint}"] if hint else [])
    text = "\n".join(lines).replace("\x1b", "\\u001b")  # nothing is coloured here, so no colour is ours
    try:
        print(harmless(text), file=sys.stderr)  # noqa: T201
    except OSError:
        pass


def _trace() -> str:
    """Keep the traceback in a file, for a bug report."""
    import tempfile
    import traceback

    try:
        with tempfile.NamedTemporaryFile("w", prefix="envdoctor-", suffix=".log", delete=False) as file:
            file.write(traceback.format_exc())
    except OSError:
        return say("the command you typed")
    return file.name
