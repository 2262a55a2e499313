"""The torch wheel that a finding proposes: the best of those that certainly run."""

from __future__ import annotations

from envdoctor.knowledge.builds import Build, builds_of, candidate_of, gpus_of, objections
from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.ranking import best
from envdoctor.knowledge.tables import TorchRelease
from envdoctor.model.stack import Target
from envdoctor.model.version import at_least

# cuDNN no longer lists Kepler (https://docs.nvidia.com/deeplearning/cudnn/archives/cudnn-896/support-matrix), and
# 2.7.1+cu118 was reported failing on a K80 although it has sm_37: no wheel that is still kept up runs there.
OLDEST_CAPABILITY = "5.0"


def best_wheel(facts: Knowledge, target: Target, *, only: TorchRelease | None = None) -> Build | None:
    """Find the best CUDA build of torch for a machine, of those about which nothing is in doubt; None: there is none.

    It is what the resolver chooses too, for the Python at hand, since the wheel goes into the environment that is
    there. PTX is not relied on. `only` asks of one release alone.
    """
    capabilities = [gpu.capability for gpu in gpus_of(target, "nvidia") if gpu.capability]
    if any(not at_least(each, OLDEST_CAPABILITY) for each in capabilities):
        return None
    for release in (only,) if only else facts.torch_releases:
        fitting = (
            candidate_of(build, target, facts, target.python)
            for build in builds_of(release)
            if build.kind == "cuda" and not any(objections(build, target, facts, target.python))
        )
        found = best((each for each in fitting if not each.doubts and not each.jit), target, facts)
        if found:
            return found.build
    return None
