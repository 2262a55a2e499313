"""`envdoctor run`."""

from __future__ import annotations

import os
import sys

import click

from envdoctor import errors
from envdoctor.cli import options
from envdoctor.model.speech import say


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog="""\b
Examples:
  envdoctor run -- python train.py --batch-size 64
  envdoctor run --report run.json -- torchrun --nproc-per-node 2 train.py

\b
Exit status: the program's own; 128 + N if signal N ended it; 127 if there is no such program, 126 if it
cannot be run. Only before the program starts: 2 for wrong words, 3 for a report that cannot be written.""",
)
@click.option(
    "--interval",
    type=click.FloatRange(min=0.05, max=3600),
    default=1.0,
    show_default=True,
    help="Seconds between two looks.",
)
@options.output_format
@click.option("--report", metavar="FILE", type=click.Path(dir_okay=False), help="Also write everything as JSON.")
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(interval: float, output: str, report: str | None, force: bool, command: tuple[str, ...]) -> None:
    """Run a program under watch, and explain why it died.

    Its input, output and signals are its own, and so is the exit status. GPU and host memory, the cgroup, /dev/shm and
    disks are looked at meanwhile; what was found goes to standard error. Processes that it leaves behind are ended.
    """
    if sys.platform == "win32":
        raise errors.MissingPart(say("`run` needs Linux or macOS"), say("in WSL it works"))
    if report is not None:
        _refuse(report, force)
    from envdoctor.app import running
    from envdoctor.report import documents, runs

    done, machine, judged = running.run(command, os.environ, interval)
    document = documents.run(done, machine, judged)
    if output == "json":
        options.show(document, sys.stderr)
    else:
        options.show(runs.text(done, judged, options.style(sys.stderr, verbose=True)), sys.stderr)
    if report is not None:
        _write(report, document)
    raise SystemExit(done.status)


def _refuse(report: str, force: bool) -> None:
    """Say before the program has run for hours that its report could not be written."""
    folder = os.path.dirname(report) or "."
    if os.path.lexists(report) and not force:
        raise errors.Unreadable(
            say("{report} exists", report=report), say("choose another name, or replace it with --force")
        )
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK):
        raise errors.Unreadable(
            say("no file can be written in {folder}", folder=folder), say("choose another place for --report")
        )


def _write(report: str, document: str) -> None:
    """Write the report; the program's status stays the answer where that is no longer possible."""
    from envdoctor.host.writing import write_text

    try:
        write_text(report, document, replace=True)
    except errors.EnvdoctorError as problem:
        click.echo(say("envdoctor: {message}", message=problem.message), err=True)
