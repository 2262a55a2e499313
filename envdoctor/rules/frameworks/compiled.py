"""What a torch build was compiled for, and how that is said."""

from __future__ import annotations

from typing import NamedTuple

from envdoctor.knowledge.fit import machine_code
from envdoctor.knowledge.load import Knowledge, code_runs
from envdoctor.knowledge.tables import TorchVariant
from envdoctor.knowledge.targets import target_of
from envdoctor.model.finding import Certainty
from envdoctor.model.snapshot import Framework, Snapshot
from envdoctor.model.speech import say
from envdoctor.rules.frameworks.installed import TORCH, build_tag, by_conda
from envdoctor.rules.python.reinstall import Card
from envdoctor.rules.wording import listed


class Code(NamedTuple):
    """Machine code and PTX of a build (sm_86, compute_120), how sure that is, and the facts that tell."""

    archs: tuple[str, ...]
    certainty: Certainty
    evidence: tuple[str, ...]

    def runs(self, card: Card, facts: Knowledge) -> bool:
        """Tell whether there is code for that card."""
        row = facts.architecture(card.capability)
        return code_runs(self.archs, card.capability, integrated=row is not None and row.integrated)

    @property
    def lowest(self) -> str:
        """The lowest compute capability with machine code."""
        return f"{self._numbers[0] // 10}.{self._numbers[0] % 10}"

    @property
    def range(self) -> str:
        """Say the machine code in a few words."""
        numbers = self._numbers
        return (
            f"sm_{numbers[0]}"
            if len(numbers) == 1
            else say("sm_{oldest} to sm_{newest}", oldest=numbers[0], newest=numbers[-1])
        )

    @property
    def _numbers(self) -> list[int]:
        return sorted({_number(each) for each in self.archs if each.startswith("sm_")})


def code_of(framework: Framework, machine: Snapshot, facts: Knowledge) -> Code | None:
    """Say what the build was compiled for: by its own file, else by the published table; None: neither tells."""
    if framework.archs:
        read = tuple(each for each in framework.archs if _is_arch(each))
        has_code = any(each.startswith("sm_") for each in read)
        return Code(read, "certain", (f"{TORCH}.archs",)) if has_code else None
    release = facts.torch(framework.version)
    variant = release.variant(build_tag(framework) or "") if release else None
    python = machine.python
    if variant is None or variant.cuda is None or (python and by_conda(python, "torch")):
        return None
    lists = _published(variant, machine, facts)
    if lists is None:
        return None
    sm, ptx, sure = lists
    names = tuple(f"sm_{each.replace('.', '')}" for each in sm)
    names += tuple(f"compute_{each.replace('.', '')}" for each in ptx)
    return Code(names, "certain" if sure else "likely", (f"{TORCH}.version",))


def names(cards: tuple[Card, ...]) -> str:
    """Name cards in a sentence."""
    return listed(dict.fromkeys(card.name for card in cards))


def sm(cards: tuple[Card, ...]) -> str:
    """Name the machine code that cards run."""
    return listed(dict.fromkeys(f"sm_{card.capability.replace('.', '')}" for card in cards))


def _published(
    variant: TorchVariant, machine: Snapshot, facts: Knowledge
) -> tuple[tuple[str, ...], tuple[str, ...], bool] | None:
    target = target_of(machine, facts)
    sure = variant.doubt is None and variant.ptx_doubt is None
    code = machine_code(variant, target.os, target.arch)
    if code is None and target.os == "windows":
        # The Windows lists of some releases were not read; there the Linux list of the same build stands in.
        code, sure = machine_code(variant, "linux", target.arch), False
    return (*code, sure) if code and code[0] else None


def _is_arch(text: str) -> bool:
    kind, _, digits = text.partition("_")
    number = digits.rstrip("af")
    return kind in ("sm", "compute") and number.isascii() and number.isdigit() and len(number) >= 2


def _number(arch: str) -> int:
    return int(arch.partition("_")[2].rstrip("af"))
