"""What the torch workloads share: how they choose a device, compare with a reference, and train.

Python 3.8 or newer, torch 1.13 or newer, and what lies in `proving`, which stands beside this folder or, where the
scripts were handed over, in it. `proving/telling.py` has the options and what is said.
"""

import os
import sys

sys.path.append(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "proving"))

import telling
from device import choose


class Run(telling.Run):
    """A workload in torch."""

    def use(self, torch):
        """Choose the device, prove it with a small calculation, and seed every generator."""
        self.outcome["framework_version"] = str(torch.__version__)
        self.device = choose(torch, self.wanted)
        self.outcome["device"] = self.device.kind
        self.outcome["device_name"] = self.device.name
        self.device.prove()
        torch.manual_seed(self.seed)
        return self.device

    def agree(self, name, actual, reference, relative=telling.RELATIVE_TOLERANCE):
        """Check a tensor against its reference: no value may be further off than this share of the largest one."""
        reference = reference.detach().cpu().double()
        scale = reference.abs().max().item()
        error = (actual.detach().cpu().double() - reference).abs().max().item()
        self.within(name, error, scale, relative)


def train(torch, run, model, batches, loss_of, optimizer):
    """Train on the batches; gives the loss of every step and whether all gradients were finite."""
    losses, finite = [], True
    for step, batch in enumerate(batches):
        optimizer.zero_grad()
        loss = loss_of(model, batch)
        loss.backward()
        norms = torch.stack([part.grad.norm() for part in model.parameters() if part.grad is not None])
        finite = finite and bool(torch.isfinite(norms).all())
        optimizer.step()
        losses.append(loss.item())
        run.progress("train", step + 1, len(batches))
    return losses, finite
