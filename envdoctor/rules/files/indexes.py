"""Where a file takes torch from: pairs of version and CUDA, and the indexes that it names."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.builds import gpus_of
from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.wheels import best_wheel
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say
from envdoctor.model.version import at_least
from envdoctor.rules.files.asked import changed, environments, once
from envdoctor.rules.files.builds import INDEX, asked_for, newest_with, rewritten
from envdoctor.rules.registry import Found, found, rule

_PREVIOUS = "https://pytorch.org/get-started/previous-versions/"


@rule(
    "FILE013",
    "build-never-published",
    "error",
    needs=("declared",),
    sources=(_PREVIOUS, "https://github.com/pytorch/pytorch/blob/main/RELEASE.md"),
)
def pair_never_published(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A file asks for a version of torch together with a CUDA it was never published for.

    Each release has a handful of builds: 2.7.1 has cu118, cu126 and cu128, and 2.8.0 has no cu118 any more. Any other
    pair ends with "Could not find a version that satisfies the requirement"; with a further index (--extra-index-url)
    it ends with another build instead.

    Needed: a pair that exists.

    Check: `pip index versions torch --index-url https://download.pytorch.org/whl/cu118`.
    """
    yield from once(machine, _never(machine, facts))


def _never(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    for asked in asked_for(machine, facts):
        torch = asked.torch
        if torch.state != "never" or torch.tag is None:
            continue
        wanted = torch.line.said.value or ""
        have = facts.torch(torch.line.pin) if torch.line.pin else None
        tags = ", ".join(variant.tag for variant in have.variants) if have else ""
        newest = newest_with(torch.tag, facts.torch_releases)
        other = best_wheel(facts, asked.here, only=have) if have and gpus_of(asked.here, "nvidia") else None
        fixes = rewritten(torch.line, asked.environment, other, facts) if other else ()
        if newest:
            fixes = (*fixes, *rewritten(torch.line, asked.environment, newest, facts))
        yield found(
            say("torch{wanted} was never published for {tag}", wanted=wanted.partition("+")[0], tag=torch.tag),
            " ".join(
                (
                    say("torch {version} has {tags}.", version=have.version, tags=tags)
                    if have
                    else say("No release that this allows has such a build."),
                    *(
                        (say("The last with {tag} is {version}.", tag=torch.tag, version=newest.release.version),)
                        if newest
                        else ()
                    ),
                )
            ),
            evidence=(torch.line.evidence,),
            fixes=fixes,
        )


@rule(
    "FILE017",
    "package-indexes-mixed",
    "warning",
    certainty="likely",
    needs=("declared",),
    sources=(
        "https://pip.pypa.io/en/stable/cli/pip_install/#finding-packages",
        "https://docs.astral.sh/uv/concepts/indexes/",
    ),
)
def index_passed_over(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A file names an index of PyTorch beside the package index, and pip takes torch from the latter.

    --extra-index-url is no order: pip gathers the versions of all indexes and takes the highest. Where PyTorch's index
    ends earlier (cu118 with 2.7.1), or lacks the version that is asked for, the plain wheel wins, which is for another
    CUDA.

    Needed: the build in the pin (torch==2.7.1+cu118), or --index-url, which asks that index alone.

    Check: `pip install --dry-run --report -` with the same words names the file that would be taken.

    Silent for uv, which takes a package from the first index that has it.
    """
    yield from once(machine, _passed_over(machine, facts))


def _passed_over(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    for asked in asked_for(machine, facts):
        torch, build = asked.torch, asked.torch.build
        if torch.state != "passed over" or build is None or torch.tag is None:
            continue
        newest = newest_with(torch.tag, facts.torch_releases)
        exact = facts.torch(torch.line.pin) if torch.line.pin else None
        why = (
            say("{tag} ends with torch {version}", tag=torch.tag, version=newest.release.version)
            if newest and not exact
            else say("that index has none that fits")
        )
        if exact:
            why = say("torch {version} was never published for {tag}", version=exact.version, tag=torch.tag)
        yield found(
            say(
                "The index {tag} is named, and pip would take {name} from the package index",
                tag=torch.tag,
                name=build.name,
            ),
            say(
                "pip takes the highest version of all indexes, and {reason}. The plain wheel is for CUDA {cuda}.",
                reason=why,
                cuda=build.cuda,
            )
            if build.cuda
            else say(
                "pip takes the highest version of all indexes, and {reason}. The plain wheel is for the processor.",
                reason=why,
            ),
            evidence=(torch.line.evidence,),
            fixes=rewritten(torch.line, asked.environment, newest, facts) if newest else (),
        )


@rule(
    "FILE018",
    "links-page-without-wheels",
    "warning",
    certainty="likely",
    needs=("declared",),
    sources=("https://pip.pypa.io/en/stable/cli/pip_install/#cmdoption-f", _PREVIOUS),
)
def index_as_links(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A file names an index of PyTorch with -f, which is for pages of links.

    pip looks for files on the page itself. download.pytorch.org/whl/cu118 lists projects and no files, so nothing is
    found there, and the plain wheel of the package index is taken. torch_stable.html is such a page, and it ended
    with about torch 1.10.

    Needed: --index-url for an index; -f only for pages that end in .html, or for a mirror that has pages of links.

    Check: `pip download --no-deps -f PAGE torch -v` shows the links that were found.
    """
    yield from once(machine, _links(machine))


def _links(machine: Snapshot) -> Iterator[Found]:
    for each in environments(machine):
        line = each.package("torch", "torchvision", "torchaudio")
        for page in line.said.links if line else ():
            assert line
            old = page.endswith("/whl/torch_stable.html") and not (line.pin and not at_least(line.pin, "1.11"))
            if not old and not (page.startswith(f"{INDEX}/") and not page.endswith((".html", ".whl"))):
                continue
            yield found(
                say("-f {page} is a page that ended with torch 1.10", page=page)
                if old
                else say("-f {page} is an index, and no page of links", page=page),
                say("pip finds no file of torch there, and takes whatever the package index has."),
                evidence=(line.evidence,),
                fixes=(
                    changed(line, line.said.text.replace(f"-f {page}", f"--index-url {page}"))
                    if not old and f"-f {page}" in line.said.text
                    else Fix(summary=say("Name the index of a build: --index-url {index}/cu126", index=INDEX)),
                ),
            )
