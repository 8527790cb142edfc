"""What runs the graph, as the options say it."""

from dataclasses import replace
from typing import Any

import pytest
from apache_beam.options.pipeline_options import GoogleCloudOptions

from pipeline.dataflow.gpus import Gpu
from pipeline.options import RunOptions, UsageError
from pipeline.running.runner import model_choice, settle_runner

DATAFLOW = RunOptions(runner="DataflowRunner")


@pytest.mark.parametrize(
    ("name", "kind", "is_local", "is_dataflow"),
    [
        ("DirectRunner", "direct", True, False),
        ("direct", "direct", True, False),
        ("FnApiRunner", "fnapi", True, False),
        ("PrismRunner", "prism", False, False),
        ("my.own.DirectRunner", "direct", False, False),
        ("dataflowRUNNER", "dataflow", False, True),
        ("apache_beam.runners.DataflowRunner", "dataflow", False, True),
        ("my.own.Engine", "engine", False, False),
    ],
)
def test_a_runner_is_known_in_any_case_and_by_its_module(
    name: str, kind: str, is_local: bool, is_dataflow: bool
) -> None:
    runner = settle_runner(RunOptions(runner=name))
    assert (runner.kind, runner.is_local, runner.is_dataflow) == (kind, is_local, is_dataflow)


def test_beams_options_and_the_gpu_are_parsed_once() -> None:
    options = replace(DATAFLOW, gpu="nvidia-l4:2", beam_options=("--project", "p"))
    runner = settle_runner(options)
    assert runner.options.view_as(GoogleCloudOptions).project == "p"
    assert runner.gpu == Gpu("nvidia-l4", 2)
    assert settle_runner(DATAFLOW).gpu is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"runner": "DirectRuner"}, "--runner 'DirectRuner' is unknown (did you mean 'DirectRun"),
        ({"gpu": "nvidia-l4:3"}, "a worker can have 1, 2, 4 or 8 of nvidia-l4"),
        ({"beam_options": ("--projct=p",)}, "no such option: --projct; did you mean --project?"),
        ({"beam_options": ("--inpt",)}, "no such option: --inpt; did you mean --input?"),
    ],
)
def test_what_is_unknown_is_refused_with_the_nearest(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error:
        settle_runner(RunOptions(**changes), ["--input", "--output"])
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("beam_option", "has_siblings"),
    [
        ("--project=p", False),
        ("--experiments=use_multiple_sdk_containers", True),
        ("--direct_running_mode=multi_processing", True),
        ("--sdk_worker_parallelism=4", True),
    ],
)
def test_siblings_are_several_processes_on_a_machine(beam_option: str, has_siblings: bool) -> None:
    runner = settle_runner(RunOptions(beam_options=(beam_option,)))
    assert runner.has_siblings is has_siblings


def test_dataflows_workers_decide_the_engine_and_not_this_machine() -> None:
    def has_gpu(options: RunOptions) -> bool | None:
        return model_choice(options, settle_runner(options)).has_gpu

    assert has_gpu(DATAFLOW) is False
    assert has_gpu(replace(DATAFLOW, gpu="nvidia-l4")) is True
    assert has_gpu(RunOptions()) is None
