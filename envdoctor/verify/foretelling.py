"""What the estimator says of settings before they run: which are hopeless, and what stands beside a measurement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from envdoctor.errors import UsageProblem
from envdoctor.estimate.host_memory import TRANSFORMERS, UNSEEN
from envdoctor.estimate.weighing import Scales
from envdoctor.model.estimate import Range, Workload
from envdoctor.model.tuning import Prediction

if TYPE_CHECKING:
    from typing import Literal

    from envdoctor.estimate.device import Device
    from envdoctor.estimate.weighing import Walked
    from envdoctor.model.estimate import Dtype, Mode, Peaks, Speed
    from envdoctor.model.tuning import Precision, Settings

# int8 weights are another thing on each device: what torch quantizes dynamically on a CPU is not in the estimator.
_DTYPES: dict[Precision, Dtype] = {
    "fp32": "fp32",
    "bf16": "bf16",
    "fp16": "fp16",
    "amp-bf16": "amp-bf16",
    "amp-fp16": "amp-fp16",
}


class Foreteller:
    """Predicts settings of one model on one device; each workload is walked once."""

    def __init__(self, model: Walked, goal: Mode, device: Device, peaks: Peaks | None) -> None:
        self.model, self.goal, self.device, self.peaks = model, goal, device, peaks
        self._scales = Scales(model)
        self._needs: dict[Settings, Range | None] = {}

    def need(self, settings: Settings) -> Range | None:
        """Give what the process needs of the device, bytes; None: such settings are not known."""
        if settings not in self._needs:
            self._needs[settings] = self._need(settings)
        return self._needs[settings]

    def predict(self, settings: Settings) -> Prediction:
        """Give what stands beside a measurement: of a card what torch allocates, of a CPU the whole process."""
        workload = self._workload(settings)
        if workload is None:
            return Prediction()
        memory = self.need(settings)
        if self.device.kind == "cuda" and memory is not None:
            allocated = self._scales.memory(workload).allocated_bytes
            memory = Range(low=allocated, high=allocated)
        return Prediction(memory=memory, throughput=self._throughput(settings, workload))

    def _workload(self, settings: Settings) -> Workload | None:
        """Give the workload that the settings are; None: the estimator has no such thing."""
        dtype, tokens = _DTYPES.get(settings.precision), self.model.kind == "tokens"
        if dtype is None or settings.pruned or settings.runtime != "eager":
            return None
        if settings.checkpointing and not tokens:
            return None
        training, cuda = self.goal == "training", self.device.kind == "cuda"
        return Workload(
            model=self.model.name,
            mode=self.goal,
            batch=settings.batch,
            image_size=None if tokens else settings.size,
            seq_len=settings.size if tokens else None,
            dtype=dtype,
            optimizer=("adamw" if tokens else "sgd") if training else "none",
            foreach=cuda,
            kv_cache=tokens and not training,
            checkpointing=settings.checkpointing,
            accumulation=settings.accumulation,
            device="cuda" if cuda else "cpu",
        )

    def _need(self, settings: Settings) -> Range | None:
        workload = self._workload(settings)
        if workload is None:
            return None
        try:
            need = self._scales.need(workload, self.device)
        except UsageProblem:
            return None
        # The model that runs is plain torch's, without the library that the estimator counts for language models.
        spare = TRANSFORMERS * UNSEEN if self.model.kind == "tokens" and self.device.kind == "cpu" else 0
        return Range(low=need.low - spare, high=need.high - spare)

    def _throughput(self, settings: Settings, workload: Workload) -> Range | None:
        if self.peaks is None or settings.threads is not None:
            return None
        try:
            return self.speed(workload)
        except UsageProblem:
            return None

    def speed(self, workload: Workload) -> Range | None:
        """Predict the images or tokens a second; where text is written, those that are written."""
        if self.peaks is None:
            return None
        stage: Literal["training", "inference", "decode"] = "training" if workload.mode == "training" else "inference"
        stage = "decode" if workload.kv_cache else stage
        found: tuple[Speed, ...] = self.model.speeds(workload, self.peaks)
        return next((each.throughput for each in found if each.stage == stage), None)

    def other_goal(self, settings: Settings) -> Range | None:
        """Predict how fast the model trains with these settings where inference was asked for, and the reverse."""
        training = self.goal == "training"
        other = Foreteller(self.model, "inference" if training else "training", self.device, self.peaks)
        plain = replace(settings, precision="fp32", runtime="eager", pruned=False, checkpointing=False, accumulation=1)
        return other.predict(replace(plain, threads=None)).throughput
