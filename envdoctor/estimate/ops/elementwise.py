"""Operations that work on one element at a time: activations, sums, products, dropout.

`moved` counts every operand once. What each one saves follows torch's derivatives.yaml; what an in-place one saves
follows from whether its backward needs the input (then autograd clones it) or the output.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from envdoctor.estimate.ops.dense import raised
from envdoctor.estimate.tape import Tensor

if TYPE_CHECKING:
    from envdoctor.estimate.tape import Shape


def from_output(x: Tensor, inplace: bool = False) -> Tensor:
    """Apply a function whose backward needs its output: relu, tanh, sigmoid, exp, leaky relu in place."""
    run, shape, item = x.run, x.shape, x.item
    y = Tensor(run, shape, item, x.storage if inplace else None)
    run.count(y.count, 2 * y.size)
    if not run.recording:
        return y

    def backward(gradient: Tensor, saved: object = y.storage) -> list[Tensor | None]:
        made = Tensor(run, shape, item)
        run.count(made.count, 3 * made.size)
        return [made]

    return run.record(y, (x,), backward)


def from_input(x: Tensor, inplace: bool = False) -> Tensor:
    """Apply a function whose backward needs its input: relu6, silu, hardswish, gelu.

    In place, torch saves a clone of the input first, if there is a gradient. (VariableType: `self.clone()`)
    """
    run, shape, item = x.run, x.shape, x.item
    saved = None
    if run.recording and x.edge:
        saved = x.like().storage if inplace else x.storage
    y = Tensor(run, shape, item, x.storage if inplace else None)
    run.count(y.count, 2 * y.size)
    if saved is None:
        return y

    def backward(gradient: Tensor, saved: object = saved) -> list[Tensor | None]:
        made = Tensor(run, shape, item)
        run.count(made.count, 3 * made.size)
        return [made]

    return run.record(y, (x,), backward)


def scale(x: Tensor) -> Tensor:
    """Multiply by, or add, a number: nothing is saved."""
    run, shape, item = x.run, x.shape, x.item
    y = Tensor(run, shape, item)
    run.count(y.count, 2 * y.size)

    def backward(gradient: Tensor) -> list[Tensor | None]:
        run.count(gradient.count, 2 * gradient.size)
        return [Tensor(run, shape, item)]

    return run.record(y, (x,), backward)


def shift(x: Tensor) -> Tensor:
    """Add a number: nothing is saved, and the gradient is passed on as it is."""
    y = x.like()
    x.run.count(y.count, 2 * y.size)
    return x.run.record(y, (x,), lambda gradient: [gradient])


def relu(x: Tensor, inplace: bool = False) -> Tensor:
    """Save the output, which the next operation saves too."""
    return from_output(x, inplace)


def relu6(x: Tensor, inplace: bool = False) -> Tensor:
    """Save the input: it is hardtanh."""
    return from_input(x, inplace)


def silu(x: Tensor, inplace: bool = False) -> Tensor:
    """Save the input."""
    return from_input(x, inplace)


def hardswish(x: Tensor, inplace: bool = False) -> Tensor:
    """Save the input."""
    return from_input(x, inplace)


def hardsigmoid(x: Tensor, inplace: bool = False) -> Tensor:
    """Save the input."""
    return from_input(x, inplace)


def gelu(x: Tensor) -> Tensor:
    """Save the input: torch's own gelu, by erf or by tanh, is one kernel."""
    return from_input(x)


def tanh(x: Tensor) -> Tensor:
    """Save the output."""
    return from_output(x)


def sigmoid(x: Tensor) -> Tensor:
    """Save the output."""
    return from_output(x)


def rsqrt(x: Tensor) -> Tensor:
    """Save the output. Autocast runs it in fp32."""
    return from_output(raised(x))


def mean_last(x: Tensor) -> Tensor:
    """Average over the last axis, which stays with length 1: nothing is saved."""
    run, shape, item = x.run, x.shape, x.item
    y = Tensor(run, (*shape[:-1], 1), item)
    run.count(x.count, x.size + y.size)

    def backward(gradient: Tensor) -> list[Tensor | None]:
        made = Tensor(run, shape, item)
        run.count(made.count, gradient.size + made.size)
        return [made]

    return run.record(y, (x,), backward)


def power(x: Tensor) -> Tensor:
    """Raise to a number: the input is saved; backward makes three tensors for a moment. Autocast runs it in fp32."""
    run, shape, given = x.run, x.shape, raised(x)
    item = given.item
    y = Tensor(run, shape, item)
    run.count(y.count, 2 * y.size)

    def backward(gradient: Tensor, saved: object = given.storage) -> list[Tensor | None]:
        raised_once = Tensor(run, shape, item)
        scaled = Tensor(run, shape, item)
        made = Tensor(run, shape, item)
        run.count(3 * made.count, 6 * made.size)
        del raised_once, scaled
        return [made]

    return run.record(y, (given,), backward)


def gelu_new(u: Tensor) -> Tensor:
    """Do what Hugging Face's NewGELUActivation does, in Python: seven small operations.

    `0.5 * u * (1.0 + torch.tanh(sqrt(2 / pi) * (u + 0.044715 * torch.pow(u, 3.0))))`
    """
    return mul(scale(u), shift(tanh(scale(add(u, scale(power(u)))))))


def summed_to(gradient: Tensor, shape: Shape) -> Tensor:
    """Sum a gradient over what was broadcast."""
    if gradient.shape == shape:
        return gradient
    made = Tensor(gradient.run, shape, gradient.item)
    if made.count == gradient.count:
        return gradient
    gradient.run.count(gradient.count, gradient.size + made.size)
    return made


def _broadcast(a: Tensor, b: Tensor) -> Shape:
    if a.shape == b.shape:
        return a.shape
    long, short = (a.shape, b.shape) if len(a.shape) >= len(b.shape) else (b.shape, a.shape)
    padded = (1,) * (len(long) - len(short)) + short
    return tuple(max(i, j) for i, j in zip(long, padded, strict=True))


def add(a: Tensor, b: Tensor) -> Tensor:
    """Add two tensors: nothing is saved; the gradient goes to both as it is."""
    run, a_shape, b_shape = a.run, a.shape, b.shape
    y = Tensor(run, _broadcast(a, b), max(a.item, b.item))
    run.count(y.count, a.size + b.size + y.size)
    if a_shape == b_shape:
        return run.record(y, (a, b), lambda gradient: [gradient, gradient])
    return run.record(y, (a, b), lambda gradient: [summed_to(gradient, a_shape), summed_to(gradient, b_shape)])


def add_in_place(a: Tensor, b: Tensor) -> Tensor:
    """Add `b` to `a` where `a` lies: `a += b`."""
    run = a.run
    run.count(a.count, 3 * a.size)
    return run.record(Tensor(run, a.shape, a.item, a.storage), (a, b), lambda gradient: [gradient, gradient])


def mul(a: Tensor, b: Tensor) -> Tensor:
    """Multiply two tensors: each is saved if a gradient flows to the other."""
    run, a_shape, b_shape = a.run, a.shape, b.shape
    y = Tensor(run, _broadcast(a, b), max(a.item, b.item))
    run.count(y.count, a.size + b.size + y.size)
    if not run.recording:
        return y
    to_a, to_b = bool(a.edge), bool(b.edge)
    saved = (a.storage if to_b else None, b.storage if to_a else None)

    def backward(gradient: Tensor, saved: object = saved) -> list[Tensor | None]:
        run.count((to_a + to_b) * gradient.count, 3 * (to_a + to_b) * gradient.size)
        return [
            summed_to(gradient.like(), a_shape) if to_a else None,
            summed_to(gradient.like(), b_shape) if to_b else None,
        ]

    return run.record(y, (a, b), backward)


def dropout(x: Tensor) -> Tensor:
    """Save a mask of one byte an element (native_dropout); outside of training this is the input itself.

    On the CPU it is a composite that multiplies by noise of the input's own type. (aten/src/ATen/native/Dropout.cpp)
    """
    run = x.run
    if not run.training:
        return x
    shape, item = x.shape, x.item
    y = Tensor(run, shape, item)
    mask = Tensor(run, shape, item if run.cpu else 1)
    run.count(y.count, 2 * y.size + mask.size)

    def backward(gradient: Tensor, saved: object = mask.storage) -> list[Tensor | None]:
        run.count(gradient.count, 2 * gradient.size + gradient.count)
        return [Tensor(run, shape, item)]

    return run.record(y, (x,), backward)
