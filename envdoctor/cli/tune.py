"""`envdoctor tune`."""

from __future__ import annotations

import click

from envdoctor import errors
from envdoctor.cli import options
from envdoctor.cli.sizes import Size


@click.command(
    epilog="""\b
Examples:
  envdoctor tune resnet18 --goal inference
  envdoctor tune gpt2 --goal training --python ~/dl/bin/python --budget 900
  envdoctor tune resnet50 --goal training --batch 64 --memory-cap 8GiB --plot tuning.svg"""
)
@click.argument("model")
@click.option("--goal", type=click.Choice(["inference", "training"]), required=True, help="What it shall do here.")
@options.python
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="What it runs on; auto takes the GPU if torch sees one.",
)
@click.option(
    "--budget",
    type=click.FloatRange(min=1, max=7 * 86400),
    default=300.0,
    show_default=True,
    metavar="SECONDS",
    help="Time for all trials; what was not tried is said.",
)
@click.option("--batch", type=click.IntRange(1, 1 << 16), metavar="N", help="A batch you want; how it can be run here.")
@click.option("--size", type=click.IntRange(32, 1024), metavar="N", help="Pixels of a side, or tokens of a sample.")
@click.option("--memory-cap", type=Size(), help="What a trial may hold, like 8GiB. Default: 90 % of what is free.")
@click.option("--quick", is_flag=True, help="Only the largest batch; nothing else is compared.")
@click.option("--plot", metavar="FILE.svg", type=click.Path(dir_okay=False), help="Draw speed and memory into FILE.")
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@options.page_format
def tune(
    model: str,
    goal: str,
    python: str | None,
    device: str,
    budget: float,
    batch: int | None,
    size: int | None,
    memory_cap: int | None,
    quick: bool,
    plot: str | None,
    force: bool,
    output: str,
) -> None:
    """Find by running what fits on this machine and what is fast on it: batch, precision, size, threads and more.

    MODEL is one of those that `verify` runs: resnet18, resnet50, mobilenetv2, gpt2, gpt2-medium. Each trial is a
    process of its own that may run out of memory. Ctrl-C ends the search with the table so far.
    """
    import math

    import msgspec

    from envdoctor.app import tuning
    from envdoctor.cli.progress import Bars
    from envdoctor.model.speech import say
    from envdoctor.report import documents, tunings

    if math.isnan(budget):  # no comparison holds for it, so it is in every range
        raise errors.UsageProblem(say("--budget is a number of seconds"))
    if plot is not None:
        _refuse(plot, force)
    asked = msgspec.convert(
        {
            "model": model,
            "goal": goal,
            "device": device,
            "budget": budget,
            "wanted": batch,
            "size": size,
            "memory_cap": memory_cap,
            "quick": quick,
        },
        type=tuning.Asked,
    )
    with Bars() as bars:
        done = tuning.tune(asked, python, bars.show, lambda words: click.echo(words, err=True))
    if output == "html":
        from envdoctor.app import pages

        options.show(pages.tuning(done))
    else:
        options.show(documents.tuning(done) if output == "json" else tunings.text(done, options.style()))
    if plot is not None:
        from envdoctor.host.writing import write_text
        from envdoctor.report.tuning_plot import svg

        write_text(plot, svg(done), replace=force)
        click.echo(say("{path} was written", path=plot), err=True)
    if done.interrupted:
        raise SystemExit(errors.INTERRUPTED)
    if done.best is None:
        raise SystemExit(errors.NOT_VERIFIED)


def _refuse(plot: str, force: bool) -> None:
    """Say before minutes of trials that their plot could not be written."""
    import os

    from envdoctor.model.speech import say

    folder = os.path.dirname(plot) or "."
    if not plot.endswith(".svg"):
        raise errors.UsageProblem(say("{path} does not end in .svg, which is what --plot writes", path=plot))
    if os.path.lexists(plot) and not force:
        raise errors.Unreadable(say("{path} exists", path=plot), say("choose another name, or replace it with --force"))
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK):
        raise errors.Unreadable(say("no file can be written in {folder}", folder=folder))
