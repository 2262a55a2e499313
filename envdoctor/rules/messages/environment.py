"""What Python, pip and packages print when the environment itself is at odds: versions, file names, owners."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say
from envdoctor.model.version import compare, readable
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.told import Said, said

JAX_VERSIONS = "https://github.com/jax-ml/jax/blob/main/jax/_src/lib/__init__.py"
JAX_PLUGIN = "https://github.com/jax-ml/jax/blob/main/jax_plugins/cuda/__init__.py"


@rule(
    "MSG615",
    "jax-versions-differ",
    "error",
    needs=("problems",),
    supersedes=("MSG501", "JAX001", "JAX002", "JAX003"),
    sources=(JAX_VERSIONS, JAX_PLUGIN),
)
def jax_versions(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The packages jax, jaxlib and the CUDA plugin are of releases that do not go together.

    jax is Python code for one range of jaxlib's, and the plugin belongs to one release of jaxlib. jax refuses to
    start with another jaxlib; a plugin of another release is left out, so that only the CPU is there.

    Check: `pip list | grep -i jax` shows releases that belong together.
    """
    line = said(
        machine,
        r"(?i)jaxlib version \S+ is newer than and incompatible with jax version",
        r"(?i)jaxlib is version \S+, but this version of jax requires",
        r"(?i)jax_cuda\d+_(?:plugin|pjrt) version \S+ is installed, but it is not compatible with the installed jaxlib",
        r"(?i)jax requires jaxlib to be installed",
        r"(?i)jax(?:lib)? [\d.]+ (?:requires|depends on|has requirement) (?:jax|jaxlib)[ <>=!(][^\n]{0,60}",
    ) or _attribute_gone(machine)
    if line is None:
        return
    yield found(
        say("jax and jaxlib, or its CUDA plugin, are of releases that do not go together"),
        say("An update of one of them alone does that."),
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary=say("Install all of them in one command, which chooses one release."),
                commands=(("python", "-m", "pip", "install", "--upgrade", "jax[cuda12]"),),
                effect="changes-env",
                page="https://docs.jax.dev/en/latest/installation.html",
            ),
        ),
    )


def _attribute_gone(machine: Snapshot) -> Said | None:
    """Find a name of jaxlib that jax does not find, where the two are of different releases."""
    python = machine.python
    jax, jaxlib = (python.package(name) if python else None for name in ("jax", "jaxlib"))
    if not (jax and jaxlib and readable(jax.version) and readable(jaxlib.version)):
        return None
    if compare(jax.version, jaxlib.version) == 0:
        return None
    return said(
        machine,
        r"(?i)module 'jaxlib\S*' has no attribute",
        r"(?i)cannot import name '\w+' from '(?:jaxlib|jax)\S*'",
        r"(?i)has no attribute '\w+'[^\n]{0,60}jaxlib",
    )


@rule(
    "MSG708",
    "python-externally-managed",
    "error",
    needs=("problems",),
    supersedes=("MSG702", "PY006"),
    sources=("https://packaging.python.org/en/latest/specifications/externally-managed-environments/",),
)
def externally_managed(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The Python of the operating system refuses packages from pip.

    Since PEP 668 distributions mark their Python as theirs, so that pip does not overwrite what the system needs. An
    environment of one's own is not concerned.

    Check: `python3 -m venv ENV` and its own pip install the package.
    """
    line = said(machine, r"(?i)externally[- ]managed(?:-environment)?|See PEP 668")
    if line is None:
        return
    yield found(
        say("The system's Python does not let pip install packages"),
        say("It belongs to the distribution; an environment of your own takes the package."),
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary=say("Make an environment and install there."),
                commands=(("python3", "-m", "venv", ".venv"),),
                effect="changes-env",
            ),
        ),
    )


@rule(
    "MSG709",
    "local-file-hides-module",
    "error",
    needs=("problems",),
    supersedes=("MSG613", "PY016"),
    sources=(
        "https://docs.python.org/3/tutorial/modules.html#the-module-search-path",
        "https://github.com/pytorch/pytorch/blob/main/torch/__init__.py",
    ),
)
def local_file(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A file or folder of the person's own has the name of an installed module and is imported instead of it.

    The folder of the script comes first when Python looks for a module: torch.py there is what `import torch` finds.
    A copy of a package's source does the same when Python is started in it.

    Check: `python -c "import torch; print(torch.__file__)"` names a file in site-packages.
    """
    names = r"(?:torch|tensorflow|numpy|jax|keras|transformers|random|types|queue|copy|select|platform|cv2|onnxruntime)"
    line = said(
        machine,
        rf"partially initialized module '{names}' (?:has no|from)",
        rf"(?i)cannot import name '\w+' from partially initialized module '{names}'[^\n]{{0,60}}circular import",
        rf"(?m)^\s*File \"[^\"\n]{{0,160}}[/\\](?<!packages[/\\]){names}\.py\", line \d+, in <module>",
        r"(?i)you should not try to import numpy from",
        r"(?i)loaded the `?torch/_C`? folder",
    )
    if line is None or "site-packages" in line.words[0]:
        return
    yield found(
        say("A file of your own has the name of a module and is imported in its place"),
        say("The message or the traceback names it."),
        evidence=(line.evidence,),
        fixes=(
            Fix(summary=say("Rename that file, remove __pycache__ beside it, and start Python in another folder.")),
        ),
    )


@rule(
    "MSG715",
    "requirements-unmet",
    "error",
    needs=("problems",),
    supersedes=("PY019",),
    sources=(
        "https://protobuf.dev/news/2022-05-06/#python-updates",
        "https://github.com/tensorflow/tensorflow/releases/tag/v2.16.1",
        "https://github.com/huggingface/transformers/blob/main/src/transformers/dependency_versions_check.py",
    ),
)
def requirements(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A package finds another release of one that it depends on than the one it was made for.

    protobuf 4 refuses descriptors that protoc before 3.19 wrote; Keras 3 came with TensorFlow 2.16 and reads older
    models no more; transformers checks the releases of tokenizers, huggingface-hub and torch when it is imported.

    Check: `pip check`.
    """
    line = said(
        machine,
        r"(?i)Descriptors cannot (?:not )?be created directly",
        r"(?i)cannot import name 'builder' from 'google\.protobuf\.internal'",
        r"(?i)Detected incompatible Protobuf Gencode/Runtime versions",
        r"(?i)'?MessageFactory'? object has no attribute 'GetPrototype'",
        r"(?i)Your currently installed version of Keras is Keras 3, but this is not yet supported",
        r"(?i)Keras 3 only supports V3 `?\.keras`? files",
        r"(?i)cannot import name '(?:cached_download|split_torch_\w+|HfFolder)' from 'huggingface_hub'",
        r"(?i)ImportError: \S{2,60} is required for a normal functioning of this module, but found",
        r"(?i)PyTorch (?:library )?(?:is not available|>= ?\S+ is required|was not found) [^\n]{0,40}found \S+",
        r"(?i)Disabling PyTorch because PyTorch >= ?\S+ is required but found",
        r"(?i)requires (?:the )?Accelerate[^\n]{0,6}: `pip install accelerate",
        r"(?i)module 'scipy\.\w+' has no attribute|cannot import name 'tri[lu]' from 'scipy\.linalg'",
        r"(?i)A NumPy version >=\S+ and <\S+ is required for this version of SciPy",
    )
    if line is None:
        return
    yield found(
        say("A package finds another release of one that it depends on than it was made for"),
        say("The message names the two."),
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary=say("Install the release that the message asks for, then let pip check the rest."),
                commands=(("python", "-m", "pip", "check"),),
                effect="changes-env",
            ),
        ),
    )
