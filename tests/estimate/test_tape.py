"""What each operation saves, and in which order the tape is walked back: told of few tensors, checked to the byte."""

from __future__ import annotations

import pytest

from envdoctor.estimate import ops
from envdoctor.estimate.engine import ALONE, holders
from envdoctor.estimate.tape import GRADIENTS, Run, Tensor

MAP = (2, 8, 16, 16)
BYTES = 2 * 8 * 16 * 16 * 4


def run(*, autocast: bool = False) -> Run:
    made = Run(training=True, autocast=autocast)
    made.enter("forward")
    return made


def live(made: Run) -> int:
    return sum(made.deltas)


def tracked(made: Run, *shape: int) -> Tensor:
    """Make a tensor that a gradient flows to."""
    return ops.scale(made.parameter(*shape))


def walk_back(made: Run, y: Tensor) -> None:
    made.enter("backward")
    made.backward(y.edge, y.like())


def test_relu_in_place_makes_nothing_and_relu6_in_place_keeps_a_clone() -> None:
    for function, more in ((ops.relu, 0), (ops.relu6, BYTES), (ops.silu, BYTES), (ops.hardswish, BYTES)):
        made = run()
        x = tracked(made, *MAP)
        before = live(made)
        y = function(x, True)
        assert live(made) - before == more, function.__name__
        assert y.storage is x.storage


def test_without_a_gradient_nothing_is_kept() -> None:
    made = Run()
    x = made.tensor(MAP)
    before = live(made)
    y = ops.relu6(ops.batch_norm(x, made.tensor((8,)), made.tensor((8,))), True)
    assert live(made) - before == BYTES + 2 * 512 - 2 * 512
    assert y.edge is None


def test_convolution_norm_and_relu_cost_two_maps() -> None:
    made = run()
    x = tracked(made, *MAP)
    weight, scale, bias = made.parameter(8, 8, 3, 3), made.parameter(8), made.parameter(8)
    before = live(made)
    y = ops.relu(ops.batch_norm(ops.conv2d(x, weight, padding=1), scale, bias), True)
    assert live(made) - before == 2 * BYTES + 2 * 512  # and two statistics a channel
    assert y.shape == MAP


def test_pooling_keeps_an_index_of_eight_bytes_and_dropout_a_mask_of_one() -> None:
    made = run()
    x = tracked(made, *MAP)
    before = live(made)
    pooled = ops.max_pool2d(x, 2, 2)
    assert live(made) - before == BYTES // 4 + BYTES // 2
    before = live(made)
    dropped = ops.dropout(pooled)
    assert live(made) - before == BYTES // 4 + BYTES // 16
    assert dropped.shape == (2, 8, 8, 8)


def test_gelu_in_python_saves_four_tensors_and_makes_one() -> None:
    made = run()
    u = tracked(made, 4, 1024)
    before = live(made)
    y = ops.gelu_new(u)
    assert live(made) - before == 4 * 4 * 1024 * 4  # beside u: half of it, tanh, one plus tanh, and the product
    fused = ops.gelu(y)
    assert live(made) - before == 5 * 4 * 1024 * 4
    assert fused.edge is not None


def test_a_frozen_weight_does_not_save_the_input() -> None:
    for trained, kept in ((True, 1), (False, 0)):
        made = run()
        weight = made.parameter(64, 128, trained=trained)
        before = live(made)
        y = ops.linear(tracked(made, 16, 128), weight)
        inner = 16 * 128 * 4
        assert live(made) - before == 16 * 64 * 4 + inner + kept * inner  # its own weight is there in both
        assert y.edge is not None


def test_autocast_keeps_half_copies_of_weights_till_its_region_ends() -> None:
    made = Run(autocast=True)
    x, weight = made.tensor((4, 256)), made.parameter(256, 256)
    before = live(made)
    y = ops.linear(x, weight)
    assert y.item == 2
    assert live(made) - before == 256 * 256 * 2 + y.size
    again = ops.linear(x, weight)
    assert live(made) - before == 256 * 256 * 2 + 2 * y.size
    made.casts = {}
    assert live(made) - before == 2 * y.size
    assert again.item == 2


def test_gradients_of_weights_are_cast_to_their_type() -> None:
    made = run(autocast=True)
    weight = made.parameter(256, 256)
    y = ops.linear(made.tensor((4, 256)), weight)
    made.casts = {}
    walk_back(made, y)
    assert weight.gradient is not None
    assert weight.gradient.item == 4
    assert made.parts(len(made.deltas))[GRADIENTS] == 256 * 256 * 4


def test_two_gradients_meet_in_place_unless_somebody_else_sees_the_first() -> None:
    for shared, more in ((False, 0), (True, 1)):
        made = run()
        x = tracked(made, 1024)
        # the second branch is walked back first; `add` gives its gradient to both, so it is seen twice
        y = ops.add(ops.scale(x), x) if shared else ops.add(ops.scale(x), ops.scale(x))
        made.enter("backward")
        start = len(made.deltas)
        edge, gradient = y.edge, y.like()
        made.backward(edge, gradient)
        new = sum(1 for delta in made.deltas[start:] if delta > 0)
        assert new == (4 if not shared else 3 + more)  # the first gradient, each branch's, and the weight's own


def test_a_second_pass_adds_to_the_gradient_in_place() -> None:
    made = run()
    weight = made.parameter(64, 64)
    for _ in range(2):
        y = ops.linear(made.tensor((4, 64)), weight)
        walk_back(made, y)
        y = made.tensor((1,))
        held = weight.gradient
        assert held is not None
    assert made.parts(len(made.deltas))[GRADIENTS] == 64 * 64 * 4


def test_split_waits_for_every_piece_and_makes_one_gradient() -> None:
    made = run()
    x = tracked(made, 4, 192)
    q, k, v = ops.split(x, (64, 64, 64))
    assert q.storage is x.storage
    y = ops.add(ops.add(q, k), v)
    walk_back(made, y)
    weight = made.parameters[0]
    assert weight.gradient is not None
    assert weight.gradient.shape == (4, 192)


def test_a_part_of_the_tape_is_walked_once() -> None:
    made = run()
    y = ops.scale(made.parameter(4))
    walk_back(made, y)
    with pytest.raises(RuntimeError, match="walked twice"):
        walk_back(made, y)


def test_cross_entropy_needs_three_tensors_as_large_as_the_logits() -> None:
    made = run()
    logits = tracked(made, 64, 1000)
    size = 64 * 1000 * 4
    loss = ops.cross_entropy(logits)
    before = live(made)
    made.enter("backward")
    start = len(made.deltas)
    made.backward(loss.edge, loss.like())
    highest = max(made.live()[start:])
    assert highest - before == pytest.approx(2 * size, abs=2048)  # the log-softmax was there, two gradients come


def test_checkpointing_keeps_the_input_alone() -> None:
    made = run()
    weights = [made.parameter(512, 512) for _ in range(2)]

    def block(x: Tensor) -> Tensor:
        return ops.linear(ops.gelu(ops.linear(x, weights[0])), weights[1])

    x = tracked(made, 8, 512)
    before = live(made)
    y = ops.checkpoint(block, x)
    assert live(made) - before == y.size
    walk_back(made, y)
    assert all(w.gradient is not None for w in weights)
    assert made.recording


@pytest.mark.parametrize(
    ("item", "grouped", "kept"),
    [
        (2, False, "flash"),
        (2, True, "flash"),
        (4, False, "efficient"),
        (4, True, "math"),
    ],
)
def test_attention_takes_the_kernel_that_cuda_takes(item: int, grouped: bool, kept: str) -> None:
    made = run()
    tokens, width = 40, 64
    q = ops.scale(made.parameter(1, 4, tokens, width, item=item))
    k = ops.scale(made.parameter(1, 2 if grouped else 4, tokens, width, item=item))
    v = ops.scale(made.parameter(1, 2 if grouped else 4, tokens, width, item=item))
    before = live(made)
    y = ops.scaled_dot_product(q, k, v, None, True)
    more = live(made) - before - y.size
    if kept == "flash":
        assert more == -(-4 * tokens * 4 // 512) * 512
    elif kept == "efficient":
        assert more == 4 * 64 * 4
    else:
        assert more >= 4 * tokens * tokens * 4  # a number for each pair of tokens


def test_a_tensor_counts_as_alone_until_another_name_or_view_holds_it() -> None:
    held = [Run().tensor((4, 4))]
    assert holders(held, 0) == ALONE
    view = held[0].view(16)
    assert holders(held, 0) != ALONE
    del view
    assert holders(held, 0) == ALONE
    other = held[0]
    assert holders(held, 0) != ALONE
    del other
    assert holders(held, 0) == ALONE
