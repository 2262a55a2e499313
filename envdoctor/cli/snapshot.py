"""`envdoctor snapshot`."""

from __future__ import annotations

import click

from envdoctor import errors
from envdoctor.cli import options
from envdoctor.model.speech import say


@click.command(
    epilog="""\b
Examples:
  envdoctor snapshot -o machine.json
  envdoctor diagnose --from machine.json
  envdoctor snapshot --record my-machine"""
)
@click.option("-o", "--output", metavar="FILE", help="Where to write the snapshot. Default: standard output.")
@click.option(
    "--record",
    metavar="DIR",
    help="Also keep every file read and every command answered in DIR: a bug report that can be replayed.",
)
@click.option("--force", is_flag=True, help="Replace FILE if it exists and is no snapshot.")
@options.python
@options.root
@options.network
@options.timeout
def snapshot(
    output: str | None, record: str | None, force: bool, python: str | None, root: str, network: bool, timeout: float
) -> None:
    """Save what this machine looks like, for later or for a bug report.

    User and host name, home folder, serial numbers, UUIDs and credentials are taken out of both.
    """
    from envdoctor.app.examining import examine
    from envdoctor.host import text
    from envdoctor.host.local import LocalHost
    from envdoctor.host.recorder import Recorder, write_recording
    from envdoctor.model.redaction import Redactor
    from envdoctor.report import documents

    if network and root != "/":
        raise errors.UsageProblem(say("--network asks from this machine, and --root is about another one"))
    host = LocalHost(root)
    if record is not None:
        recorder = Recorder(host)
        machine = examine(recorder, python, timeout, network=network)
        path = write_recording(recorder.recording(), record)
        click.echo(say("recorded in {path}", path=path), err=True)
    else:
        machine = examine(host, python, timeout, network=network)
    hostname = text(host, "/proc/sys/kernel/hostname") or ""
    content = documents.snapshot(Redactor.of(host.environ, hostname=hostname).redact(machine))
    if output is None:
        if record is None:
            options.show(content)
        return
    from envdoctor.host.writing import write_text

    write_text(output, content, replace=force or _is_snapshot(output))
    click.echo(say("written to {output}", output=output), err=True)


def _is_snapshot(path: str) -> bool:
    from envdoctor.app.reading import read_snapshot

    try:
        read_snapshot(path)
    except errors.Unreadable:
        return False
    return True
