"""The artifact: network, labels, input size and preprocessing as one thing with a fingerprint.

Made once by the launcher, read by every worker. The network is built in a process of its own,
which keeps TensorFlow's memory and messages out of the launcher, and is cached by its content.
"""

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NamedTuple

from transforms import __version__
from transforms.choices import AUTO
from transforms.engines import Resolved
from transforms.models.caches import cache_path
from transforms.models.errors import ModelError
from transforms.models.labels import Label
from transforms.models.weights import sha256_of

# The builder's exit code for a ModelError, and the file it leaves the message in.
MODEL_ERROR = 3
MODEL_ERROR_FILE = "error.txt"
# Raised whenever `build_network` makes something else of the same request.
_NETWORK_FORMAT: Final = 6
# What launcher and workers must have in common: a worker runs the network that the launcher built.
MADE_BY: Final = f"mobilenet-beam {__version__} with networks of format {_NETWORK_FORMAT}"


class NetworkRequest(NamedTuple):
    """What determines a network's outputs, file contents by their hash."""

    name: str  # an architecture, or the stem of a .keras file
    precision: str
    engine: Resolved
    model_file: str | None = None  # the user's .keras file, which says all that follows but scaling
    weights_file: str | None = None
    weights_name: str = ""
    alpha: float = 0.0
    image_size: int | None = None
    classes: int = 0
    scaling: str = AUTO  # of the pixels for a .keras file: a key of `SCALINGS`, or found out
    outputs: str = AUTO  # of a .keras file: probabilities, logits, or found out
    or_tensorflow: bool = False  # for a .keras file that LiteRT cannot run


class Network(NamedTuple):
    """A network on disk: a .tflite file or a SavedModel folder, uint8 pixels to probabilities."""

    path: str
    engine: Resolved
    image_size: int
    classes: int
    scaling: tuple[float, float]  # see `zoo.Scaling`
    outputs: str  # of the model within: probabilities or logits
    is_multi_label: bool
    notes: tuple[str, ...]  # a sentence for each thing that was decided on a .keras file


class Artifact(NamedTuple):
    """All that a worker needs to turn pixels into labelled rows."""

    network: str
    engine: Resolved
    model: str  # name@fingerprint, as in the column `model`
    image_size: int
    labels: tuple[Label, ...]
    notes: tuple[str, ...] = ()  # see `Network`
    made_by: str = MADE_BY

    def check_version(self) -> None:
        """Raises RuntimeError unless this process has the version that made the artifact."""
        if self.made_by != MADE_BY:
            raise RuntimeError(
                f"the run was launched by {self.made_by}, but this worker has {MADE_BY}; install "
                "the launcher's version on the workers"
            )


def network_for(request: NetworkRequest, say: Callable[[str], None]) -> Network:
    """The network of `request`, from the cache or built now; `say` is told of a build.

    Raises:
        ModelError: its weights don't fit, or it is no image classifier.
    """
    key = _digest(_content(request))
    folder = cache_path(f"networks/{request.name}-{request.engine}-{key}")
    if not (folder / "network.json").exists():
        say(f"building {request.name} for {request.engine} (once; some ten seconds)")
        _build(request, folder)
    facts = json.loads((folder / "network.json").read_text())
    facts["path"] = str(folder / facts.pop("file"))
    return Network(**facts | {name: tuple(facts[name]) for name in ("notes", "scaling")})


def fingerprint(
    request: NetworkRequest, network: Network, labels: tuple[Label, ...], resize: str
) -> str:
    """12 hex digits that change with the weights, the preprocessing and the labels.

    What was found out on a model of the user's own counts as if it had been declared.

    The engine is left out: the engines agree on the classes, and a run resumed on another
    machine must know its own rows.
    """
    content = _content(request)
    for key in ("engine", "or_tensorflow", "tensorflow"):
        del content[key]
    decided = {"scaling": network.scaling, "outputs": network.outputs}
    return _digest(content | decided | {"labels": labels, "resize": resize})


def _content(request: NetworkRequest) -> dict[str, Any]:
    content = request._asdict()
    del content["weights_name"]  # what the user calls the file, for messages only
    for key in ("model_file", "weights_file"):
        path = content[key]
        content[key] = sha256_of(Path(path)) if path else None
    return content | {"builder": _NETWORK_FORMAT, "tensorflow": version("tensorflow")}


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def _build(request: NetworkRequest, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".building-") as scratch:
        made = Path(scratch) / "network"
        made.mkdir()
        builder = subprocess.run(
            [
                *(sys.executable, "-m", "transforms.models.build_network"),
                *(json.dumps(request._asdict()), str(made)),
            ],
            capture_output=True,
            text=True,
            env=_builder_environment(scratch),
        )
        if builder.returncode == MODEL_ERROR:
            raise ModelError((made / MODEL_ERROR_FILE).read_text())
        if builder.returncode != 0:
            raise ModelError(_ended(builder, request))
        with contextlib.suppress(OSError):  # another process was faster
            made.rename(folder)


def _ended(builder: subprocess.CompletedProcess[str], request: NetworkRequest) -> str:
    """Why there is no network, in one line; the rest of it is kept in a file."""
    why = (
        f"its process ended with signal {-builder.returncode}, as where memory runs out"
        if builder.returncode < 0
        else (builder.stderr.strip().splitlines() or ["its process ended without a word"])[-1]
    )
    with tempfile.NamedTemporaryFile(
        "w", prefix="mobilenet-beam-", suffix=".log", delete=False
    ) as log:
        log.write(builder.stderr)
    return f"{request.name} cannot be built for {request.engine}: {why} (all of it: {log.name})"


def _builder_environment(scratch: str) -> dict[str, str]:
    package = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    # Converting needs no GPU, and this process must not take the memory of one.
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "-1"}
    # What keras.json says of a user's own work would make another network.
    keras = {"KERAS_HOME": scratch, "KERAS_BACKEND": "tensorflow"}
    return os.environ | quiet | keras | {"PYTHONPATH": path}
