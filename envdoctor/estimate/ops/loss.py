"""What training minimizes."""

from __future__ import annotations

from envdoctor.estimate.ops.dense import cast, raised
from envdoctor.estimate.tape import Tensor


def log_softmax(x: Tensor) -> Tensor:
    """Save the output."""
    run, shape, item = x.run, x.shape, x.item
    y = Tensor(run, shape, item)
    run.count(4 * y.count, 2 * y.size)

    def backward(gradient: Tensor, saved: object = y.storage) -> list[Tensor | None]:
        made = Tensor(run, shape, item)
        run.count(3 * made.count, 3 * made.size)
        return [made]

    return run.record(y, (x,), backward)


def cross_entropy(logits: Tensor) -> Tensor:
    """Take the log-softmax and pick the labels' entries (nll_loss): backward makes two tensors as large as the logits.

    Autocast runs nll_loss in fp32, but log_softmax in the type of the logits, which cross_entropy_loss asks for.
    """
    scores = raised(log_softmax(logits))
    run, shape, item = scores.run, scores.shape, scores.item
    y = Tensor(run, (1,), item)
    run.count(0, scores.size // shape[-1])

    def backward(gradient: Tensor, saved: object = scores.storage) -> list[Tensor | None]:
        made = Tensor(run, shape, item)
        run.count(0, made.size)
        return [made]

    return run.record(y, (scores,), backward)


def binary_cross_entropy(logits: Tensor, wanted: Tensor) -> Tensor:
    """Save the logits and what was wanted; the loss of each element lives until it is summed."""
    run, shape, item = logits.run, logits.shape, logits.item
    each = Tensor(run, shape, item)
    y = Tensor(run, (1,), item)
    run.count(6 * each.count, 4 * each.size)
    del each

    def backward(gradient: Tensor, saved: object = (logits.storage, wanted.storage)) -> list[Tensor | None]:
        made = Tensor(run, shape, item)
        run.count(4 * made.count, 3 * made.size)
        return [made]

    return run.record(y, (logits,), backward)


def causal_loss(logits: Tensor) -> Tensor:
    """Compare each token's logits, in fp32, with the next token, as transformers' ForCausalLMLoss does.

    The labels are padded by one and shifted, which makes two int64 tensors.
    """
    run = logits.run
    full = cast(logits, 4)
    batch, length = logits.shape[0], logits.shape[1]
    padded = Tensor(run, (batch, length + 1), 8)
    shifted = Tensor(run, (batch, length), 8)
    loss = cross_entropy(full.view(batch * length, logits.shape[-1]))
    del padded, shifted
    return loss
