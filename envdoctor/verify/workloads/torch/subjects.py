"""What a trial runs: a network for images or for text, with its inputs, its loss and its optimizer."""

import time

import torch
from torch.nn import functional

CLASSES = 1000
WRITTEN = 8  # tokens that are written after the prompt, in each round


class Pictures:
    """A network for images."""

    def __init__(self, name, size, kind, seed):
        import networks

        self.networks = networks
        self.name, self.size, self.kind = name, size, kind
        self.generator = torch.Generator().manual_seed(seed)

    def build(self):
        """Make the network, with random weights."""
        return self.networks.build(self.name, CLASSES)

    def layers(self, model):
        """Name the layers that can be computed twice, as (container, key)."""
        return [(model.blocks, str(index)) for index in range(len(model.blocks))]

    def droppable(self, model):
        """Name the layers that can be left out: what goes in has the shape of what comes out, and goes around them."""
        found = []
        for index, block in enumerate(model.blocks):
            around = getattr(block, "around", None)
            if getattr(block, "residual", False) or (around is not None and len(around) == 0):
                found.append((model.blocks, index))
        return found

    def sample(self):
        """Draw pictures whose outputs are compared."""
        generator = torch.Generator().manual_seed(1)
        return self.networks.gratings(generator, 16, min(self.size, 224))[0]

    def inputs(self, batch):
        """Draw a batch."""
        return torch.randn(batch, 3, self.size, self.size, generator=self.generator)

    def labelled(self, batch):
        """Draw a batch with its labels."""
        return [self.inputs(batch), torch.randint(CLASSES, (batch,), generator=self.generator)]

    def infer(self, model, inputs, wait):
        """Recognize a batch; gives the seconds and the outputs."""
        begun = time.perf_counter()
        output = model(inputs)
        wait()
        return time.perf_counter() - begun, output

    def loss(self, model, batch):
        """Give the loss of a batch."""
        return functional.cross_entropy(model(batch[0]), batch[1])

    def optimizer(self, weights):
        """Make the optimizer that such networks are trained with."""
        return torch.optim.SGD(weights, lr=0.01, momentum=0.9)

    def items_written(self, batch):
        """Count the images of a step."""
        return batch

    items_trained = items_written


class Texts:
    """A language model."""

    def __init__(self, name, size, kind, seed):
        import decoder

        self.decoder = decoder
        self.name, self.size, self.kind = name, size, kind
        self.generator = torch.Generator().manual_seed(seed)

    def build(self):
        """Make the network, with random weights."""
        return self.decoder.build(self.name)

    def layers(self, model):
        """Name the layers that can be computed twice, as (container, key)."""
        return [(model.layers, str(index)) for index in range(len(model.layers))]

    def droppable(self, model):
        """Name the layers that can be left out; in a language model it is each but the first and the last."""
        return [(model.layers, index) for index in range(1, len(model.layers) - 1)]

    def sample(self):
        """Draw rows of tokens whose outputs are compared."""
        generator = torch.Generator().manual_seed(1)
        return torch.randint(self.decoder.VOCABULARY, (2, min(self.size, 64)), generator=generator)

    def inputs(self, batch):
        """Draw a batch of prompts; with what is written after them they fill the size."""
        length = max(1, self.size - WRITTEN)
        return torch.randint(self.decoder.VOCABULARY, (batch, length), generator=self.generator)

    def labelled(self, batch):
        """Draw a batch of rows; each token is the label of the one before, and the last needs one more."""
        rows = torch.randint(self.decoder.VOCABULARY, (batch, self.size + 1), generator=self.generator)
        return [rows[:, :-1].contiguous(), rows[:, 1:].contiguous()]

    def infer(self, model, inputs, wait):
        """Read the prompts and go on writing; gives the seconds that writing took, and the last logits."""
        logits, past = model(inputs)
        last = logits[:, -1].clone()
        del logits
        wait()
        begun = time.perf_counter()
        for _ in range(WRITTEN):
            logits, past = model(last.argmax(-1, keepdim=True), past)
            last = logits[:, -1]
        wait()
        return time.perf_counter() - begun, last

    def loss(self, model, batch):
        """Give the loss of a batch."""
        return functional.cross_entropy(model(batch[0])[0].flatten(0, 1), batch[1].flatten())

    def optimizer(self, weights):
        """Make the optimizer that such networks are trained with."""
        return torch.optim.AdamW(weights, lr=1e-4)

    def items_written(self, batch):
        """Count the tokens that are written in a round."""
        return batch * WRITTEN

    def items_trained(self, batch):
        """Count the tokens that are learned from in a step."""
        return batch * self.size
