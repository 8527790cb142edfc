"""From what the user asked for to the artifact the workers load."""

from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Final

from transforms.choices import (
    AUTO,
    DEFAULT_ALPHA,
    DEFAULT_IMAGE_SIZE,
    DEFAULT_TOP_K,
    IMAGENET,
    ModelChoice,
)
from transforms.engines import Resolved, resolve_engine
from transforms.models.artifact import (
    Artifact,
    Network,
    NetworkRequest,
    fingerprint,
    network_for,
)
from transforms.models.errors import ModelError
from transforms.models.labels import Label, imagenet_labels, read_labels
from transforms.models.weights import fetched, own_weights, published_weights
from transforms.models.zoo import architecture
from transforms.storage import is_local, storage_for

# What else models are saved as, each told apart from a name that is misspelt.
_HDF5: Final = (".h5", ".hdf5")
_OTHER_KINDS: Final = (".tflite", ".pb", ".onnx", ".pt", ".pth", ".ckpt", ".safetensors")
_LEAST_SIZE: Final = 32  # pixels: five halvings leave one
_LEAST_ALPHA: Final = 0.1


def resolve_model(choice: ModelChoice, say: Callable[[str], None]) -> Artifact:
    """Finds weights and labels, builds the network or takes it from the cache.

    `say` gets a line for each thing that takes a while.

    Raises:
        ModelError: something about the choice cannot be; the message says what would work.
    """
    own = own_model_file(choice.model) if is_own(choice.model) else None
    labels = given_labels(choice.labels)
    request = _own_request(choice, own) if own else _request(choice, labels, say)
    network = network_for(request, say)
    labels = labels or imagenet_labels()
    check_labels(labels, choice.labels, request.name, network.classes)
    kept_classes(choice.top_k, network.classes)
    name = _display_name(request, network)
    model = f"{name}@{fingerprint(request, network, labels, choice.resize)}"
    return Artifact(network.path, network.engine, model, network.image_size, labels, network.notes)


def is_own(model: str) -> bool:
    """Whether `--model` means a file of the user's rather than an architecture."""
    return _kind(model) in (".keras", *_HDF5, *_OTHER_KINDS) or "/" in model


def _kind(model: str) -> str:
    return PurePath(model).suffix.lower()


def _own_request(choice: ModelChoice, path: Path) -> NetworkRequest:
    if choice.weights != IMAGENET or choice.alpha is not None or choice.image_size is not None:
        raise ModelError(
            f"--model {choice.model!r} brings its own weights and input size; "
            f"drop --weights, --alpha and --image-size"
        )
    if choice.labels is None:
        raise ModelError(f"--model {choice.model!r} needs --labels FILE: the names of its classes")
    return NetworkRequest(
        name=path.stem,
        model_file=str(path),
        precision=choice.precision,
        engine=_engine(choice),
        scaling=choice.scaling,
        outputs=choice.outputs,
        or_tensorflow=choice.engine == AUTO and choice.precision == "float32",
    )


def own_model_file(model: str) -> Path:
    """The user's `.keras` file as a local path, fetched first if it is remote.

    Raises:
        ModelError: there is no such file, or its name says that it is of another kind.
    """
    kind = _kind(model)
    if kind in _HDF5:
        raise ModelError(
            f"--model {model!r} is no .keras file: weights go with --weights FILE, and a whole "
            f"model becomes one with keras.models.load_model({model!r}).save('x.keras')"
        )
    if kind in _OTHER_KINDS:
        raise ModelError(
            f"--model {model!r}: {kind} files are not taken; convert it to Keras and save that "
            "with model.save('x.keras')"
        )
    path = Path(model) if is_local(model) else fetched(model)
    if not path.is_file():
        wrong = "is not a file" if path.exists() else "does not exist"
        raise ModelError(f"--model {model!r} {wrong}; give the path of a .keras file")
    return path


def _request(
    choice: ModelChoice, labels: tuple[Label, ...] | None, say: Callable[[str], None]
) -> NetworkRequest:
    entry = architecture(choice.model)
    for option, value in (("--scaling", choice.scaling), ("--outputs", choice.outputs)):
        if value != AUTO:
            raise ModelError(
                f"{option} {value} is for a .keras file of your own: {entry.name} has its own; "
                "drop it"
            )
    alpha = DEFAULT_ALPHA if choice.alpha is None else choice.alpha
    image_size = choice.image_size or DEFAULT_IMAGE_SIZE
    engine = _engine(choice)
    classes = len(imagenet_labels())
    if labels is not None and entry.weights_file and choice.weights != IMAGENET:
        classes = len(labels)
    elif labels is not None:
        check_labels(labels, choice.labels, entry.name, classes)
    kept_classes(choice.top_k, classes)
    if entry.weights_file is None:
        if choice.weights != IMAGENET:
            raise ModelError(f"the weights of {entry.name} come with the package; drop --weights")
        entry.check_published(alpha, image_size)
        weights = str(entry.packaged_weights)
    elif choice.weights == IMAGENET:
        weights = str(published_weights(entry.published(alpha, image_size), say))
    else:
        if alpha < _LEAST_ALPHA or image_size < _LEAST_SIZE:
            raise ModelError(
                f"--alpha {alpha:g} and --image-size {image_size} make no network; "
                f"alpha is at least {_LEAST_ALPHA:g}, the size at least {_LEAST_SIZE}"
            )
        weights = str(own_weights(choice.weights))
    return NetworkRequest(
        name=entry.name,
        weights_file=weights,
        weights_name=choice.weights,
        alpha=alpha,
        image_size=image_size,
        classes=classes,
        precision=choice.precision,
        engine=engine,
    )


def _engine(choice: ModelChoice) -> Resolved:
    try:
        return resolve_engine(choice.engine, choice.precision, choice.has_gpu)
    except ValueError as error:
        raise ModelError(str(error)) from error


def given_labels(location: str | None) -> tuple[Label, ...] | None:
    """The labels of `--labels`, or None without it.

    Raises:
        ModelError: they cannot be read, or are no labels.
    """
    if location is None:
        return None
    try:
        with storage_for(location).open(location) as file:
            return read_labels(file.read().decode("utf-8-sig"), location)
    except UnicodeDecodeError as error:
        raise ModelError(f"--labels {location!r} is no text in UTF-8; save it as such") from error
    except FileNotFoundError as error:
        raise ModelError(f"--labels {location!r} does not exist") from error
    except OSError as error:
        reason = error.strerror or error
        raise ModelError(f"--labels {location!r} cannot be read: {reason}") from error
    except ValueError as error:
        raise ModelError(f"--labels: {error}") from error


def check_labels(labels: tuple[Label, ...], location: str | None, name: str, classes: int) -> None:
    """Raises ModelError unless the `classes` of the model `name` have a label each."""
    if len(labels) != classes:
        raise ModelError(
            f"--labels {location!r} has {len(labels)} labels, but {name} has "
            f"{classes} classes; give one label for each class"
        )


def kept_classes(top_k: int | None, classes: int) -> int:
    """How many of the `classes` are kept for an image: as asked for, else at most five.

    Raises:
        ModelError: more were asked for than there are, or none.
    """
    if top_k is None:
        return min(DEFAULT_TOP_K, classes)
    if not 1 <= top_k <= classes:
        raise ModelError(f"--top-k {top_k} must be 1 to {classes}, the number of classes")
    return top_k


def _display_name(request: NetworkRequest, network: Network) -> str:
    if request.model_file or architecture(request.name).weights_file is None:
        name = request.name
    else:
        family = "mobilenet_v1" if request.name == "mobilenet" else request.name
        name = f"{family}_{request.alpha:g}_{network.image_size}"
    name = f"{name}_multilabel" if network.is_multi_label else name
    return name if request.precision == "float32" else f"{name}_{request.precision}"
