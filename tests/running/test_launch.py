"""What the options and the runner make of the steps of the graph."""

import threading
from pathlib import Path
from typing import Any

import pytest
from apache_beam import Pipeline
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineResult, PipelineRunner, PipelineState

from pipeline import graph
from pipeline.options import RunOptions
from pipeline.running import launch
from pipeline.running.launch import RunFailedError
from pipeline.running.run_log import RunLog
from pipeline.running.runner import settle_runner
from tests.helpers.model_fixtures import PHOTOS
from transforms.models.artifact import Artifact
from transforms.models.labels import Label

STEPS = ("ReadEarlierRows", "CutShards", "ReadImages", "DecodeImages", "ClassifyImages")
ARTIFACT = Artifact("/gone", "litert", "m@1", 96, tuple(Label(i, None, str(i)) for i in range(7)))


class JobElsewhere(PipelineResult):
    """A job that goes on by itself; whoever waits for it is told to stop."""

    cancelled = 0

    def __init__(self) -> None:
        self._state = PipelineState.RUNNING

    def wait_until_finish(self, duration: float | None = None) -> str:
        raise KeyboardInterrupt

    def cancel(self) -> None:
        type(self).cancelled += 1


class RunnerElsewhere(PipelineRunner):
    """Starts a `JobElsewhere`."""

    def run_pipeline(self, pipeline: Pipeline, options: PipelineOptions) -> JobElsewhere:
        return JobElsewhere()


class EnoughError(Exception):
    """Instead of a run: the last of the steps is there."""


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Gives what each step of a run with these options is made of."""

    def given(**options: Any) -> dict[str, tuple[Any, ...]]:
        found: dict[str, tuple[Any, ...]] = {}

        def noting(name: str, step: Any) -> Any:
            def note(*arguments: Any) -> Any:
                found[name] = arguments
                if name == STEPS[-1]:
                    raise EnoughError
                return step(*arguments)

            return note

        for name in STEPS:
            monkeypatch.setattr(graph, name, noting(name, getattr(graph, name)))
        monkeypatch.setattr(launch, "resolve_model", lambda *_: ARTIFACT)
        monkeypatch.setattr("threading.excepthook", threading.excepthook)  # is put back
        run = RunOptions(inputs=(str(PHOTOS),), output=str(tmp_path / "out"), **options)
        with pytest.raises(RunFailedError):
            launch.launch(run, settle_runner(run), print, RunLog())
        return found

    return given


@pytest.mark.parametrize(
    ("beam_options", "siblings"),
    [
        ((), False),
        (("--experiments=use_multiple_sdk_containers",), True),
        (("--direct_running_mode=multi_processing", "--direct_num_workers=2"), True),
    ],
)
def test_the_engine_is_told_of_sibling_processes(
    given: Any, beam_options: tuple[str, ...], siblings: bool
) -> None:
    assert given(beam_options=beam_options)["ClassifyImages"] == (ARTIFACT, 5, 32, siblings)


@pytest.mark.parametrize("retry", [False, True])
def test_options_reach_the_steps(given: Any, retry: bool, tmp_path: Path) -> None:
    found = given(
        top_k=3,
        batch_size=5,
        max_bytes=1000,
        max_pixels=2000,
        resize="squash",
        shard_size=17,
        resume=True,
        retry_all_errors=retry,
    )
    output, _, model, resume = found["ReadEarlierRows"]
    assert (output, model, resume) == (str(tmp_path / "out"), "m@1", True)
    assert found["CutShards"][1:] == (17, retry)
    assert found["ReadImages"] == (1000,)
    assert found["DecodeImages"] == ((96, "squash", 2000),)
    assert found["ClassifyImages"] == (ARTIFACT, 3, 5, False)


def test_a_job_elsewhere_is_cancelled_when_the_run_is_stopped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(launch, "resolve_model", lambda *_: ARTIFACT)
    runner = f"{RunnerElsewhere.__module__}.{RunnerElsewhere.__name__}"
    run = RunOptions(inputs=(str(PHOTOS),), output=str(tmp_path / "out"), runner=runner)
    with pytest.raises(RunFailedError) as stopped:
        launch.launch(run, settle_runner(run), print, RunLog())
    assert isinstance(stopped.value.__cause__, KeyboardInterrupt)
    assert JobElsewhere.cancelled == 1
