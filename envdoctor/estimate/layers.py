"""Layers: weights of a run with the operation that uses them. They are made in the order of `module.parameters()`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envdoctor.estimate import ops

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from envdoctor.estimate.tape import Run, Tensor


class Linear:
    """nn.Linear, and transformers' Conv1D, which has the same memory; as the run says, packed and with an adapter."""

    adapted = True  # quantization and adapters are for layers like this one

    def __init__(self, run: Run, inputs: int, outputs: int, bias: bool = True) -> None:
        self.packing = run.quantized if self.adapted else None
        if self.packing:
            self.weight = run.packed((outputs, inputs), ops.packed_size(outputs, inputs, self.packing))
        else:
            self.weight = run.parameter(outputs, inputs)
        self.bias = run.parameter(outputs) if bias else None
        self.adapter = None
        if run.rank is not None and self.adapted:
            self.adapter = (run.adapter(run.rank, inputs), run.adapter(outputs, run.rank))

    def __call__(self, x: Tensor) -> Tensor:
        """Multiply (..., inputs) to (..., outputs)."""
        if self.adapter is None:
            return self.base(x)
        result = self.base(x)
        item = result.item
        result = ops.add(result, self.beside(x, *self.adapter))
        return ops.cast(result, item)

    def base(self, x: Tensor) -> Tensor:
        """Multiply by the weight itself."""
        if self.packing:
            y = ops.packed_linear(x, self.weight, self.packing)
            return y if self.bias is None else ops.add(y, self.bias)
        return ops.linear(x, self.weight, self.bias)

    def beside(self, x: Tensor, narrow: Tensor, wide: Tensor) -> Tensor:
        """Do what peft's LoRA adds, without dropout: both matrices are fp32, and so is what they read."""
        given = ops.cast(x, 4)
        return ops.scale(ops.linear(ops.linear(given, narrow), wide))


class Embedding:
    """nn.Embedding."""

    def __init__(self, run: Run, rows: int, width: int) -> None:
        self.weight = run.parameter(rows, width)

    def __call__(self, ids: Tensor) -> Tensor:
        """Look rows up."""
        return ops.embedding(ids, self.weight)


class LayerNorm:
    """nn.LayerNorm over the last axis."""

    def __init__(self, run: Run, width: int, bias: bool = True) -> None:
        self.weight = run.parameter(width)
        self.bias = run.parameter(width) if bias else None

    def __call__(self, x: Tensor) -> Tensor:
        """Normalize each row."""
        return ops.layer_norm(x, self.weight, self.bias)


class RMSNorm:
    """LlamaRMSNorm of transformers."""

    def __init__(self, run: Run, width: int) -> None:
        self.weight = run.parameter(width)

    def __call__(self, x: Tensor) -> Tensor:
        """Normalize each row."""
        return ops.rms_norm(x, self.weight)


class FullRMSNorm:
    """GemmaRMSNorm of transformers, and MiniMind's, whose weight is not counted from 1."""

    def __init__(self, run: Run, width: int, plus_one: bool = True) -> None:
        self.weight = run.parameter(width)
        self.plus_one = plus_one

    def __call__(self, x: Tensor) -> Tensor:
        """Normalize each row."""
        return ops.full_rms_norm(x, self.weight, self.plus_one)


class Head(Linear):
    """The last layer of a language model, which quantization and adapters leave alone."""

    adapted = False


class Conv:
    """nn.Conv2d; padding None keeps the size at stride 1."""

    def __init__(
        self,
        run: Run,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        padding: int | None = None,
        bias: bool = False,
    ) -> None:
        self.weight = run.parameter(outputs, inputs // groups, kernel, kernel)
        self.bias = run.parameter(outputs) if bias else None
        self.stride = stride
        self.groups = groups
        self.padding = (kernel - 1) // 2 if padding is None else padding

    def __call__(self, x: Tensor) -> Tensor:
        """Convolve (batch, inputs, height, width)."""
        return ops.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.groups)


class BatchNorm:
    """nn.BatchNorm2d, with its running mean, running variance and count of batches."""

    def __init__(self, run: Run, channels: int) -> None:
        self.weight = run.parameter(channels)
        self.bias = run.parameter(channels)
        self.buffers = (run.buffer(channels, item=run.weight_item), run.buffer(channels, item=run.weight_item))
        self.seen = run.buffer(1, item=8)

    def __call__(self, x: Tensor) -> Tensor:
        """Normalize each channel."""
        return ops.batch_norm(x, self.weight, self.bias)


class ConvNorm:
    """A convolution without bias, batch norm, and an activation in place (None: none)."""

    def __init__(
        self,
        run: Run,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        activation: Callable[[Tensor, bool], Tensor] | None = ops.relu,
        padding: int | None = None,
    ) -> None:
        self.conv = Conv(run, inputs, outputs, kernel, stride, groups, padding)
        self.norm = BatchNorm(run, outputs)
        self.activation = activation

    def __call__(self, x: Tensor) -> Tensor:
        """Apply the three; what comes in is held by the caller, what is between lives until the next has run."""
        y = self.conv(x)
        y = self.norm(y)
        return y if self.activation is None else self.activation(y, True)


class SqueezeExcite:
    """Weigh each channel by a number made of all channels' averages; the product saves both."""

    def __init__(
        self,
        run: Run,
        channels: int,
        squeezed: int,
        activation: Callable[[Tensor, bool], Tensor],
        inplace: bool,
        gate: Callable[[Tensor], Tensor],
    ) -> None:
        self.reduce = Conv(run, channels, squeezed, bias=True)
        self.expand = Conv(run, squeezed, channels, bias=True)
        self.activation = activation
        self.inplace = inplace
        self.gate = gate

    def __call__(self, x: Tensor) -> Tensor:
        """Return `gate * x`."""
        weight = self.activation(self.reduce(ops.avg_pool2d(x)), self.inplace)
        return ops.mul(self.gate(self.expand(weight)), x)


def sequence(layers: Iterable[Callable[[Tensor], Tensor]], x: Tensor) -> Tensor:
    """Run nn.Sequential: the call holds its input until the last layer has run."""
    y = x
    for layer in layers:
        y = layer(y)
    return y
