"""Run one row under MemTracker: no GPU, no arithmetic, and torch's own lifetimes."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as functional
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker, _UpdateType

from memory_truth.networks import build
from memory_truth.replay import CachingAllocator

_AUTOCAST = {"amp_fp16": torch.float16, "amp_bf16": torch.bfloat16}
_INPUTS = {"fp16": torch.float16, "bf16": torch.bfloat16}
_PARTS = {
    "Parameter": "params",
    "Buffer": "buffers",
    "Gradient": "grads",
    "Activation": "activations",
    "Temp": "temp",
    "Optstate": "optimizer",
    "Other": "inputs_other",
}
# What a row says of a run; the names are those of the shared rows, and the order is that of the file.
DEFAULTS: dict[str, Any] = {
    "mode": "infer",
    "batch": 1,
    "dtype": "fp32",
    "resolution": None,
    "seq": None,
    "optimizer": "none",
    "foreach": True,
    "weight_decay": 0.0,
    "grad_ckpt": False,
    "attn": "sdpa",
    "kv_cache": False,
    "logits": "all",
    "accumulation": 1,
    "lora_rank": None,
}
DECODED_TOKENS = 2


class _Tracker(MemTracker):  # type: ignore[misc]
    """MemTracker, whose storages are also served by an allocator."""

    def __init__(self) -> None:
        super().__init__()
        self.allocator = CachingAllocator()
        self.phase = "setup"
        self.phases: dict[str, int] = {}
        self._blocks: dict[int, tuple[int, Any]] = {}

    def _track_module_params_and_buffers(self, module: Any, install_grad_hooks: bool = True) -> Any:
        # MemTracker hooks every weight's gradient to name it; a frozen weight has none, and refuses.
        hooked = install_grad_hooks and all(weight.requires_grad for weight in module.parameters())
        return super()._track_module_params_and_buffers(module, hooked)

    def _update_snap(self, kind: Any, storage: Any, *previous: Any, **named: Any) -> None:
        super()._update_snap(kind, storage, *previous, **named)
        if storage.device.type != "cuda":
            return
        if kind == _UpdateType.ADD and storage.mem_consumed:
            self._blocks[id(storage)] = (self.allocator.malloc(storage.mem_consumed), storage)
        elif kind == _UpdateType.DEL and id(storage) in self._blocks:
            self.allocator.release(self._blocks.pop(id(storage))[0])
        self.phases[self.phase] = max(self.phases.get(self.phase, 0), self.allocator.allocated)


def measure(row: dict[str, Any]) -> dict[str, Any]:
    """Return the row with its settings filled in and its peaks beside them, in bytes."""
    asked = {"model": row["model"], **DEFAULTS, **row}
    with FakeTensorMode(allow_non_fake_inputs=True), torch.device("cuda"):
        run = _Run(asked)
        run.go()
    tracker, weights = run.tracker, list(run.model.parameters())
    peak = _on_device(tracker, "peak")
    return {
        **asked,
        "n_params": sum(weight.numel() for weight in weights),
        "n_trained": sum(weight.numel() for weight in weights if weight.requires_grad),
        "peak_allocated": peak.pop("total"),
        "peak_breakdown": peak,
        "peak_alloc_blocks_sim": tracker.allocator.peak_allocated,
        "peak_reserved_sim": tracker.allocator.reserved,
        "phase_peak": tracker.phases,
        "steady": _on_device(tracker, "current")["total"],
    }


def _on_device(tracker: _Tracker, when: str) -> dict[str, int]:
    for device, parts in tracker.get_tracker_snapshot(when).items():
        if device.type == "cuda":
            return {_PARTS.get(getattr(part, "value", part), "total"): size for part, size in parts.items()}
    return {"total": 0}


class _Run:
    """One row: the module, its optimizer, its inputs, and what tracks them."""

    def __init__(self, row: dict[str, Any]) -> None:
        self.row, self.training, self.text = row, row["mode"] == "train", bool(row["seq"])
        self.model = build(row["model"], row["dtype"], row["attn"], row["lora_rank"])
        self.model.train(self.training)
        if row["grad_ckpt"]:
            self.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        self.optimizer: Any = self._optimizer() if self.training else None
        batch = row["batch"]
        if self.text:
            self.inputs = torch.zeros(batch, row["seq"], dtype=torch.long)
        else:
            side, kind = row["resolution"], _INPUTS.get(row["dtype"], torch.float32)
            self.inputs = torch.zeros(batch, 3, side, side, dtype=kind)
        classified = not self.text or self._head().endswith("SequenceClassification")
        self.labels = torch.zeros(*((batch,) if classified else (batch, row["seq"])), dtype=torch.long)
        self.tracker = _Tracker()
        self.tracker.track_external(self.model, self.inputs, *([self.labels] if self.training else []))

    def _head(self) -> str:
        base = getattr(self.model, "get_base_model", lambda: self.model)()
        return str(type(base).__name__)

    def _optimizer(self) -> Any:
        row = self.row
        trained = [weight for weight in self.model.parameters() if weight.requires_grad]
        if row["optimizer"] == "sgdm":
            decay = row["weight_decay"]
            return torch.optim.SGD(trained, lr=0.1, momentum=0.9, weight_decay=decay, foreach=row["foreach"])
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[row["optimizer"]]
        return kind(trained, foreach=row["foreach"])

    def go(self) -> None:
        """Two steps where it trains, so that the optimizer's states are there in the second; one otherwise."""
        with self.tracker:
            for _ in range(2 if self.training else 1):
                self._train() if self.training else self._infer()
                self.tracker.reset_mod_stats()

    def _train(self) -> None:
        for _ in range(self.row["accumulation"]):
            self.tracker.phase = "fwd"
            with self._autocast():
                loss = self._loss()
            self.tracker.phase = "bwd"
            loss.backward()
            del loss
            self.tracker.reset_mod_stats()
        self.tracker.phase = "opt"
        self.optimizer.step()
        self.tracker.phase = "zero"
        self.optimizer.zero_grad()

    def _loss(self) -> Any:
        if not self.text:
            return functional.cross_entropy(self.model(self.inputs), self.labels)
        # The outputs go at once, as in a loop that keeps the loss only.
        return self.model(input_ids=self.inputs, labels=self.labels, **self._uncached()).loss

    def _uncached(self) -> dict[str, Any]:
        return {"use_cache": False} if self._head().endswith(("CausalLM", "LMHeadModel")) else {}

    def _infer(self) -> None:
        self.tracker.phase = "fwd"
        with torch.no_grad(), self._autocast():
            if not self.text:
                self.model(self.inputs)
            elif not self.row["kv_cache"]:
                kept = {"logits_to_keep": 1} if self.row["logits"] == "last" else {}
                self.model(input_ids=self.inputs, **self._uncached(), **kept)
            else:
                self._decode()

    def _decode(self) -> None:
        last = self.row["logits"] == "last"
        output = self.model(input_ids=self.inputs, use_cache=True, **({"logits_to_keep": 1} if last else {}))
        cache, output = output.past_key_values, None
        token = torch.zeros(self.row["batch"], 1, dtype=torch.long)
        for _ in range(DECODED_TOKENS if last else 0):
            self.tracker.reset_mod_stats()
            output = self.model(input_ids=token, past_key_values=cache, use_cache=True)
        del output

    def _autocast(self) -> Any:
        half = _AUTOCAST.get(self.row["dtype"])
        return torch.autocast("cuda", dtype=half or torch.float16, enabled=half is not None)
