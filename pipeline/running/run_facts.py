"""What is known of a run when it starts, written down so that `pipeline.finish` can end it."""

import json
import shlex
from dataclasses import asdict
from datetime import datetime
from importlib.metadata import version
from typing import Any, NamedTuple

from pipeline import __version__
from pipeline.options import RunOptions, UsageError
from pipeline.running.beam_options import without_secrets
from transforms.layout import start_name
from transforms.models.artifact import Artifact
from transforms.storage import join, storage_for

_REPORTED_PACKAGES = ("apache-beam", "tensorflow", "ai-edge-litert", "pillow", "pyarrow")


class Job(NamedTuple):
    """Where a job is found."""

    id: str
    project: str
    region: str

    @property
    def link(self) -> str:
        """Its page in the console."""
        return (
            f"https://console.cloud.google.com/dataflow/jobs/{self.region}/{self.id}"
            f"?project={self.project}"
        )


class Start(NamedTuple):
    """A run that has started; `job` is where it runs, if it runs on Dataflow."""

    run_id: str
    started: str  # ISO 8601, UTC
    model: str
    engine: str
    classes: int
    notes: tuple[str, ...]  # what was found out on a model of the user's own
    output: str
    configuration: dict[str, Any]  # the options, without secrets
    versions: dict[str, str]
    job: Job | None = None

    @classmethod
    def of(cls, options: RunOptions, artifact: Artifact, run_id: str, now: datetime) -> "Start":
        """A run that starts now."""
        versions = {name: version(name) for name in _REPORTED_PACKAGES}
        shown = {"beam_options": without_secrets(options.beam_options)}
        return cls(
            run_id,
            now.isoformat(timespec="seconds"),
            artifact.model,
            artifact.engine,
            len(artifact.labels),
            artifact.notes,
            options.output,
            asdict(options) | shown,
            {"mobilenet-beam": __version__} | versions,
        )

    @property
    def finish_command(self) -> str:
        """What accounts for the run once its job has ended."""
        return shlex.join(["python", "-m", "pipeline.finish", self.output, self.run_id])

    def facts(self) -> dict[str, Any]:
        """As they stand in runs/<run>.json."""
        return {
            "started": self.started,
            "model": self.model,
            "engine": self.engine,
            "classes": self.classes,
            "notes": list(self.notes),
            "job": self.job and self.job._asdict(),
            "configuration": self.configuration,
            "versions": self.versions,
        }


def write_start(start: Start) -> None:
    """Writes ledger/<run>.json."""
    text = json.dumps({"run_id": start.run_id, **start.facts()}, indent=2)
    storage_for(start.output).write(start.output, start_name(start.run_id), text.encode())


def read_start(output: str, run_id: str) -> Start:
    """Reads what `write_start` wrote.

    Raises:
        UsageError: there is no such run, or none that another process could end.
    """
    path = join(output, start_name(run_id))
    try:
        with storage_for(path).open(path) as file:
            facts = json.load(file)
    except (OSError, ValueError) as error:
        raise UsageError(f"{output!r} has no run {run_id!r} that was submitted: {error}") from error
    try:
        return Start(
            facts["run_id"],
            facts["started"],
            facts["model"],
            facts["engine"],
            facts["classes"],
            tuple(facts["notes"]),
            output,
            asdict(RunOptions()) | facts["configuration"],
            facts["versions"],
            facts["job"] and Job(**facts["job"]),
        )
    except (KeyError, TypeError) as error:
        raise UsageError(
            f"{path!r} is of another version of this package ({type(error).__name__}: {error}): "
            f"end the run with the version that began it"
        ) from error
