"""The largest batch that lives, found by running: exponential, then binary, and every end of it seen twice."""

from __future__ import annotations

from collections.abc import Callable

LIMIT = 1 << 16  # a larger batch is nobody's wish
_TURNS = 200
_FINE = 16  # the search ends when the two ends are a sixteenth apart; below 32 when they are neighbours

Lived = Callable[[int, int], "bool | None"]


class Unknown(Exception):
    """A batch could not be tried any more; what is known by then."""

    def __init__(self, batch: int, lives: int, dies: int | None) -> None:
        super().__init__()
        self.batch, self.lives, self.dies = batch, lives, dies


class _Known:
    """What is known of each batch; `ceiling` is the smallest that cannot be tried."""

    def __init__(self, lived: Lived) -> None:
        self.lived = lived
        self.answers: dict[int, bool] = {}
        self.doubted: set[int] = set()
        self.ceiling = LIMIT + 1

    def ask(self, batch: int, again: int = 1) -> bool:
        """Tell whether a batch could be tried; its answer is then known."""
        alive = self.lived(batch, again)
        if alive is not None:
            self.answers[batch] = alive
        return alive is not None

    def ends(self) -> tuple[int, int | None]:
        """Give the largest that lives below the smallest that dies, and that one."""
        dies = min((batch for batch, alive in self.answers.items() if not alive), default=None)
        living = (batch for batch, alive in self.answers.items() if alive and (dies is None or batch < dies))
        return max(living, default=0), dies

    def contradicted(self) -> int | None:
        """Give a batch that died though a larger one lived: what killed it may not have been its own need."""
        most = max((batch for batch, alive in self.answers.items() if alive), default=0)
        dead = (batch for batch, alive in sorted(self.answers.items()) if not alive and batch not in self.doubted)
        return next((batch for batch in dead if batch < most), None)

    def begin(self, batches: tuple[int | None, ...]) -> None:
        """Ask those of the batches that can tell something."""
        for batch in batches:
            lives, dies = self.ends()
            if batch and lives < batch <= LIMIT and (dies is None or batch < dies) and not self.ask(batch):
                self.ceiling = min(self.ceiling, batch)


def largest(lived: Lived, start: int, surely: int | None, hardly: int | None) -> tuple[int, int | None]:
    """Give the largest batch that lives, and the smallest above it that was seen to die; 0: none lives.

    `lived(batch, again)` says whether a batch lives, from at least `again` runs of it; None: it cannot be tried. A
    machine is no function: what else runs there comes and goes. So each end has to be seen twice, and the majority
    counts. `surely` and `hardly` say where to look first: a batch that should live, and one that should not.

    Raises:
        Unknown: a batch cannot be tried.
    """
    known = _Known(lived)
    known.begin((start, surely, hardly))
    for _ in range(_TURNS):
        lives, dies = before = known.ends()
        doubtful = known.contradicted()
        if doubtful is not None:
            known.doubted.add(doubtful)
            if not known.ask(doubtful, 2):
                raise Unknown(doubtful, lives, dies)
            continue
        batch = _next(lives, dies, known.ceiling)
        if batch is not None:
            if not known.ask(batch):
                known.ceiling = batch
            continue
        if known.ceiling <= LIMIT and (dies is None or dies > known.ceiling):
            raise Unknown(known.ceiling, lives, dies)
        for end in before:
            if end and not known.ask(end, 2):
                raise Unknown(end, lives, dies)
            if known.ends() != before:
                break
        else:
            return before
    return known.ends()


def _next(lives: int, dies: int | None, ceiling: int) -> int | None:
    """Give the batch to try between the ends; None: they are as near as they have to be."""
    end = ceiling if dies is None else min(dies, ceiling)
    if dies is None:
        batch = max(1, lives * 2)
        return batch if batch < end else None
    if end - lives <= grain(lives):
        return None
    return (lives + end) // 2


def grain(batch: int) -> int:
    """Give how near the ends have to be.

    >>> [grain(batch) for batch in (1, 31, 32, 64, 1000)]
    [1, 1, 2, 4, 32]
    """
    return max(1, (1 << max(batch, 1).bit_length() - 1) // _FINE)
