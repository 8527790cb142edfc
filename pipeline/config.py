"""What a run is asked to do: every option with its default, checked before anything runs."""

from dataclasses import dataclass
from typing import Final, Literal

from transforms.decode_images import Resize
from transforms.engines import EngineName
from transforms.list_images import Source
from transforms.models.resolve import IMAGENET, ModelChoice, Precision, ScalingName

# Beam takes a runner's name in any case and without its ending, and so does this.
_LOCAL_RUNNERS: Final = ("direct", "bundlebaseddirect", "fnapi")


class UsageError(Exception):
    """Something the user asked for cannot be; exit code 2, nothing has run."""


@dataclass(frozen=True)
class Config:
    """One field an option; the defaults stand here and nowhere else."""

    inputs: tuple[str, ...] = ()
    manifests: tuple[str, ...] = ()
    manifest_column: str = "uri"
    output: str = ""
    model: str = "mobilenet"
    alpha: float | None = None
    image_size: int | None = None
    weights: str = IMAGENET
    labels: str | None = None
    scaling: ScalingName = "auto"
    top_k: int | None = None
    resize: Resize = "crop"
    precision: Precision = "float32"
    engine: EngineName = "auto"
    batch_size: int = 32
    shard_size: int = 4096
    resume: bool = False
    retry_all_errors: bool = False
    max_failure_rate: float = 1.0
    max_bytes: int = 100_000_000
    max_pixels: int = 180_000_000
    runner: str = "DirectRunner"
    gpu: str | None = None
    no_wait: bool = False
    dry_run: Literal["text", "json"] | None = None
    deadline_hours: float = 8.0
    beam_options: tuple[str, ...] = ()

    def sources(self) -> list[Source]:
        """Inputs and manifests, in the order given."""
        return [
            *(Source("input", location) for location in self.inputs),
            *(Source("manifest", location, self.manifest_column) for location in self.manifests),
        ]

    def model_choice(self) -> ModelChoice:
        """The part that concerns the model."""
        return ModelChoice(
            self.model,
            self.alpha,
            self.image_size,
            self.weights,
            self.labels,
            self.top_k,
            self.resize,
            self.precision,
            self._engine,
            self.scaling,
        )

    @property
    def _engine(self) -> EngineName:
        """`auto` looks for a GPU on this machine, which says nothing of a Dataflow worker."""
        if self.engine != "auto" or not self.is_dataflow:
            return self.engine
        is_for_cpu = self.gpu is None and self.precision in ("float32", "int8")
        return "litert" if is_for_cpu else "tensorflow"

    @property
    def is_dataflow(self) -> bool:
        """Whether Dataflow runs it."""
        name = self.runner.rpartition(".")[2]  # a class may be named with its module
        return name.lower().removesuffix("runner") == "dataflow"

    @property
    def is_local(self) -> bool:
        """Whether the run happens in this process."""
        return self.runner.lower().removesuffix("runner") in _LOCAL_RUNNERS
