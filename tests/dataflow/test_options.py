"""What Dataflow is asked for, and what is refused before it is."""

from dataclasses import replace
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import (
    DebugOptions,
    GoogleCloudOptions,
    PipelineOptions,
    WorkerOptions,
)

from pipeline.dataflow.options import accelerator_hint, check_dataflow, complete_options
from pipeline.options import RunOptions, UsageError
from pipeline.running.runner import settle_runner

RUN = "r-20261123T101500-a1b2"
NEEDED = (
    "--project=my-project",
    "--region=europe-west4",
    "--temp_location=gs://bucket/tmp",
    "--sdk_container_image=europe-docker.pkg.dev/my-project/images/worker:1",
)
JOB = RunOptions(
    inputs=("gs://bucket/in",),
    output="gs://bucket/out",
    runner="DataflowRunner",
    beam_options=NEEDED,
)


def check(options: RunOptions) -> None:
    check_dataflow(options, settle_runner(options))


def refusal(options: RunOptions) -> str:
    with pytest.raises(UsageError) as error:
        check(options)
    return str(error.value)


def submitted(options: RunOptions) -> PipelineOptions:
    """Beam's options as the job has them."""
    runner = settle_runner(options)
    complete_options(runner, RUN)
    return runner.options


def test_a_whole_job_is_taken_with_and_without_a_gpu() -> None:
    check(JOB)
    check(replace(JOB, gpu="nvidia-tesla-t4:2"))


@pytest.mark.parametrize("option", ["--project", "--region", "--temp_location"])
def test_a_missing_option_is_named_with_an_example(option: str) -> None:
    rest = tuple(each for each in NEEDED if not each.startswith(option))
    assert refusal(replace(JOB, beam_options=rest)).startswith(
        f"DataflowRunner needs {option}, such as {option}="
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": ("photos/",)}, "--input 'photos/' is on this machine"),
        ({"manifests": ("list.txt",)}, "--manifest 'list.txt' is on this machine"),
        ({"output": "out"}, "--output 'out' is on this machine"),
        ({"beam_options": (*NEEDED, "--temp_location=tmp")}, "'tmp' must be a gs:// folder"),
        ({"beam_options": (*NEEDED, "--staging_location=s")}, "'s' must be a gs:// folder"),
        ({"runner": "apache_beam.runners.DataflowRunner", "output": "out"}, "--output 'out' is on"),
        (
            {"gpu": "nvidia-l4", "beam_options": (*NEEDED, "--machine_type=n1-standard-2")},
            "'n1-standard-2' cannot have nvidia-l4, which needs one of g2-...: drop it",
        ),
        ({"gpu": "T4", "beam_options": NEEDED[:3]}, "did you mean nvidia-tesla-t4?"),
        ({"beam_options": NEEDED[:3]}, "Beam's own image lacks this package"),
        (
            {"beam_options": (*NEEDED, "--sdk_container_image=apache/beam_python3.11_sdk:2.77.0")},
            "--sdk_container_image 'apache/beam_python3.11_sdk:2.77.0' lacks this package",
        ),
        ({"beam_options": (*NEEDED, "--setup_file=none.py")}, "'none.py', which the workers"),
        ({"gpu": "nvidia-tesla-t5"}, "no such type (did you mean 'nvidia-tesla-t4'?)"),
        ({"gpu": "T4"}, "no such type; did you mean nvidia-tesla-t4?"),
        ({"gpu": "nvidia-l4:3"}, "a worker can have 1, 2, 4 or 8 of nvidia-l4"),
        ({"gpu": "nvidia-l4:two"}, "a worker can have 1, 2, 4 or 8 of nvidia-l4"),
        ({"gpu": "nvidia-l4", "engine": "litert"}, "--engine litert runs on a CPU"),
        ({"gpu": "nvidia-l4", "precision": "int8"}, "--precision int8 runs on a CPU"),
        (
            {"gpu": "nvidia-l4", "beam_options": (*NEEDED, "--flexrs_goal=COST_OPTIMIZED")},
            "FlexRS has no GPUs",
        ),
        (
            {
                "gpu": "nvidia-l4",
                "beam_options": (*NEEDED, "--dataflow_service_options=worker_accelerator=type:x"),
            },
            "worker_accelerator exclude each other",
        ),
        (
            {"gpu": "nvidia-l4", "beam_options": (*NEEDED[:3], "--setup_file=./pyproject.toml")},
            "--gpu nvidia-l4 needs --sdk_container_image with CUDA in it",
        ),
        ({"gpu": "nvidia-l4", "runner": "DirectRunner"}, "a GPU of this machine is used without"),
        ({"no_wait": True, "runner": "DirectRunner"}, "--no-wait is for --runner=DataflowRunner"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_submitted(
    changes: dict[str, object], message: str
) -> None:
    assert message in refusal(replace(JOB, **changes))  # type: ignore[arg-type]  # a table


def test_the_package_may_come_from_a_file_instead_of_an_image(tmp_path: Path) -> None:
    wheel = tmp_path / "mobilenet_beam-0.1.0-py3-none-any.whl"
    requirements = tmp_path / "requirements.txt"
    wheel.touch()
    requirements.write_text("mobilenet-beam==0.1.0\n")
    for option in (
        f"--extra_package={wheel}",
        f"--requirements_file={requirements}",
        "--setup_file=./pyproject.toml",
    ):
        check(replace(JOB, beam_options=(*NEEDED[:3], option)))
    requirements.write_text("pillow\n")
    assert "lacks this package" in refusal(
        replace(JOB, beam_options=(*NEEDED[:3], f"--requirements_file={requirements}"))
    )


def test_the_hint_names_a_machine_unless_the_user_does() -> None:
    assert accelerator_hint(settle_runner(JOB)) is None
    job = replace(JOB, gpu="nvidia-tesla-t4")
    assert accelerator_hint(settle_runner(job)) == (
        "type:nvidia-tesla-t4;count:1;machine_type:n1-standard-8;install-nvidia-driver"
    )
    own = replace(job, beam_options=(*NEEDED, "--machine_type=n1-standard-16"))
    hint = accelerator_hint(settle_runner(own))
    assert hint == "type:nvidia-tesla-t4;count:1;install-nvidia-driver"


def test_what_the_user_leaves_open_is_filled_in() -> None:
    options = submitted(replace(JOB, gpu="nvidia-l4:2"))
    cloud = options.view_as(GoogleCloudOptions)
    debug = options.view_as(DebugOptions)
    assert cloud.job_name == "mobilenet-beam-r-20261123t101500-a1b2"
    assert cloud.labels == ["mobilenet-beam=0-1-0", "run-id=r-20261123t101500-a1b2"]
    assert debug.experiments == ["no_use_multiple_sdk_containers"]
    assert debug.number_of_worker_harness_threads == 4  # two a GPU
    assert options.view_as(WorkerOptions).disk_size_gb == 50
    cpu = submitted(JOB)
    assert cpu.view_as(WorkerOptions).disk_size_gb is None
    assert cpu.view_as(DebugOptions).number_of_worker_harness_threads == 2


def test_what_the_user_says_wins() -> None:
    own = (
        *("--job_name=mine", "--labels=team=x", "--disk_size_gb=99"),
        *("--experiments=use_multiple_sdk_containers", "--number_of_worker_harness_threads=7"),
    )
    job = replace(JOB, gpu="nvidia-l4", beam_options=(*NEEDED, *own))
    options = submitted(job)
    assert options.view_as(GoogleCloudOptions).job_name == "mine"
    assert "team=x" in options.view_as(GoogleCloudOptions).labels
    assert options.view_as(WorkerOptions).disk_size_gb == 99
    assert options.view_as(DebugOptions).experiments == ["use_multiple_sdk_containers"]
    assert options.view_as(DebugOptions).number_of_worker_harness_threads == 7
