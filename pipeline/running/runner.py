"""What runs the graph: `--runner`, the GPU of its workers, and Beam's own options, parsed once."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from apache_beam.options.pipeline_options import (
    DebugOptions,
    DirectOptions,
    PipelineOptions,
    PortableOptions,
    StandardOptions,
)

from pipeline.dataflow.gpus import Gpu, parse_gpu
from pipeline.options import RunOptions, UsageError
from pipeline.running.beam_options import parse_beam_options
from transforms.choices import ModelChoice
from transforms.models.errors import nearest
from transforms.storage.billing import BillingOptions

# Beam takes a runner's name in any case and without its ending, and so does this.
_LOCAL: Final = ("direct", "bundlebaseddirect", "fnapi")
_KNOWN: Final = StandardOptions.KNOWN_RUNNER_NAMES
PROCESS_PER_CORE: Final = "use_multiple_sdk_containers"


class Runner(NamedTuple):
    """A runner that is known, its options, and the GPU that each of its workers has."""

    name: str
    options: PipelineOptions
    gpu: Gpu | None = None

    @property
    def kind(self) -> str:
        """Its name in small letters, without a module and without its ending."""
        return self.name.rpartition(".")[2].lower().removesuffix("runner")

    @property
    def is_local(self) -> bool:
        """Whether the run happens in this process."""
        return self.kind in _LOCAL and "." not in self.name

    @property
    def is_dataflow(self) -> bool:
        """Whether Dataflow runs it."""
        return self.kind == "dataflow"

    @property
    def has_siblings(self) -> bool:
        """Whether it starts several processes on a machine, as the user asked it to."""
        options = self.options
        return (
            PROCESS_PER_CORE in (options.view_as(DebugOptions).experiments or [])
            or options.view_as(DirectOptions).direct_running_mode == "multi_processing"
            or int(options.view_as(PortableOptions).sdk_worker_parallelism) != 1
        )


def settle_runner(options: RunOptions, flags: Iterable[str] = ()) -> Runner:
    """The runner that the options ask for; `flags` are the command's own, for a suggestion.

    Raises:
        UsageError: there is no such runner, GPU or option of Beam's.
    """
    beam = parse_beam_options(options.beam_options, flags)
    beam.view_as(BillingOptions).billing_project = options.billing_project
    gpu = parse_gpu(options.gpu) if options.gpu is not None else None
    known = {name.lower() for name in _KNOWN}
    name = options.runner.lower()
    if not ("." in name or name in known or f"{name}runner" in known):
        raise UsageError(
            f"--runner {options.runner!r} is unknown{nearest(options.runner, _KNOWN)}; "
            f"Beam has {', '.join(_KNOWN)}"
        )
    return Runner(options.runner, beam, gpu)


def model_choice(options: RunOptions, runner: Runner) -> ModelChoice:
    """The network for the workers, which on Dataflow have another GPU than this machine."""
    choice = options.model_choice()
    return choice._replace(has_gpu=runner.gpu is not None) if runner.is_dataflow else choice
