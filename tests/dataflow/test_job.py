"""The real DataflowRunner submits to a recorder; what it recorded is read, and run."""

import base64
import bz2
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import google.cloud.storage as gcs
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import common_urns, python_urns
from apache_beam.portability.api import beam_runner_api_pb2 as protos
from apache_beam.runners.portability.fn_api_runner import translations
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from google.auth.credentials import AnonymousCredentials

import transforms.storage
from pipeline.dataflow.job import JobFailedError, follow, is_over
from pipeline.running.metrics import metrics_of
from pipeline.running.run_facts import Job
from tests.helpers.dataflow_recorder import JOB_ID, Recorder
from tests.helpers.gcs_emulator import Emulator, Proxy
from tests.helpers.model_fixtures import PHOTOS, Command, Run, TinyModel
from transforms.storage import storage_for

LINK = f"https://console.cloud.google.com/dataflow/jobs/europe-west4/{JOB_ID}?project=my-project"
HINT = common_urns.resource_hints.ACCELERATOR.urn


class Cloud(NamedTuple):
    """A bucket with photographs, and Dataflow's end of the line."""

    bucket: str
    recorder: Recorder
    image: str
    run: Command

    def submit(self, output: str, *options: str) -> Run:
        """`pipeline.run` on Dataflow with these options."""
        return self.run(
            *("--runner=DataflowRunner", "--input", f"{self.bucket}/in", "--shard-size", "5"),
            *("--output", f"{self.bucket}/{output}", f"--temp_location={self.bucket}/tmp"),
            *(
                "--project=my-project",
                "--region=europe-west4",
                f"--sdk_container_image={self.image}",
            ),
            *self.recorder.options(),
            *options,
        )

    def pipeline(self) -> protos.Pipeline:
        """The graph as it was staged for the workers."""
        (url,) = [
            each["value"]
            for each in self.recorder.job["environment"]["sdkPipelineOptions"]["display_data"]
            if each["key"] == "temp_location"
        ]
        path = f"{url}/pipeline.pb"
        with storage_for(path).open(path) as file:
            return protos.Pipeline.FromString(file.read())


@pytest.fixture(scope="module")
def bucket(emulator: Emulator) -> Iterator[str]:
    """Photographs in Cloud Storage, as this module and its subprocesses see it."""
    proxy = Proxy(emulator)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", proxy.url)
        transforms.storage._storage.cache_clear()
        client = gcs.Client(project="p", credentials=AnonymousCredentials())
        client.create_bucket("dataflow-jobs")
        client.close()
        for path in PHOTOS.iterdir():
            root = "gs://dataflow-jobs"
            storage_for(root).write(root, f"in/{path.name}", path.read_bytes())
        yield root
    transforms.storage._storage.cache_clear()
    proxy.stop()


@pytest.fixture(scope="module")
def on_cloud(bucket: str, run: Command) -> Iterator[Cloud]:
    recorder = Recorder()
    yield Cloud(bucket, recorder, "my-registry/images/worker:1", run)
    recorder.stop()


@pytest.fixture(scope="module")
def cpu_job(on_cloud: Cloud, tiny_model: TinyModel) -> tuple[Cloud, Run]:
    """A job submitted and left."""
    return on_cloud, on_cloud.submit("cpu", *tiny_model.options(), "--no-wait")


def fused(pipeline: protos.Pipeline) -> list[list[str]]:
    """The names of the steps of each stage, as Beam's runners fuse them."""
    phases = [*translations.standard_optimize_phases()]
    _, stages = translations.create_and_optimize_stages(
        pipeline, phases=phases, known_runner_urns=frozenset()
    )
    return [[transform.unique_name for transform in stage.transforms] for stage in stages]


def test_the_recorded_job_labels_and_is_accounted_for(
    cpu_job: tuple[Cloud, Run],
) -> None:
    on_cloud, done = cpu_job
    job, link, *notes, _, command = done.out.splitlines()
    assert (done.code, job, link) == (0, f"job {JOB_ID}", LINK)
    *_, output, run_id = command.split()
    assert command == f"python -m pipeline.finish {on_cloud.bucket}/cpu {run_id}"

    result = run_here(on_cloud.pipeline())
    recorder = on_cloud.recorder
    for name, value in metrics_of(result).counters.items():
        recorder.count(name, value, "s1")
    recorder.states = ["JOB_STATE_PENDING", "JOB_STATE_RUNNING", "JOB_STATE_DONE"]
    finished = on_cloud.run(output, run_id, module="pipeline.finish")
    images = len(list(PHOTOS.iterdir()))
    assert finished.code == 0, finished.err
    assert finished.out.startswith(f"{images} images listed, {images} predicted, 0 failed\n90.0 s")
    assert [note.split(": ")[0] for note in notes] == ["pixels scaled to -1..1"] + [
        "outputs taken as logits"
    ]
    assert finished.out.splitlines()[2:4] == notes
    first, pending, running = finished.err.splitlines()
    assert first == f"job {JOB_ID}: {LINK}"
    assert pending == f"pending: {images} of {images} images, 0 failed"
    assert running.startswith("running: ")

    path = f"{output}/runs/{run_id}.json"
    with storage_for(path).open(path) as file:
        facts = json.load(file)
    assert facts["complete"] is True
    assert facts["seconds"] == 90.0
    assert facts["job"] == {"id": JOB_ID, "project": "my-project", "region": "europe-west4"}
    assert facts["metrics"]["predicted"] == images
    assert facts["metrics"]["model_loads"] == 1
    assert facts["metrics"]["bytes_read"] == sum(each.stat().st_size for each in PHOTOS.iterdir())


def unpacked_functions(pipeline: protos.Pipeline) -> Iterator[bytes]:
    """The pickled code and arguments of each step; Beam packs them."""
    for each in pipeline.components.transforms.values():
        if each.spec.urn == common_urns.primitives.PAR_DO.urn:
            payload = protos.ParDoPayload.FromString(each.spec.payload)
            yield bz2.decompress(base64.b64decode(payload.do_fn.payload))


def run_here(pipeline: protos.Pipeline) -> Any:
    """Runs a graph that was staged for Dataflow in this process."""
    for environment in pipeline.components.environments.values():
        environment.urn = python_urns.EMBEDDED_PYTHON
        environment.payload = b""
    result = FnApiRunner().run_via_runner_api(pipeline, PipelineOptions([]))
    result.wait_until_finish()
    return result


def test_pixels_cross_no_shuffle_and_the_graph_holds_no_model(
    cpu_job: tuple[Cloud, Run],
) -> None:
    on_cloud, _ = cpu_job
    pipeline = on_cloud.pipeline()
    (label,) = [stage for stage in fused(pipeline) if any(n.startswith("Label/") for n in stage)]
    steps = [name for name in label if name.startswith("Label/")]
    assert steps[0] == "Label/Chunks"
    assert {name.split("/")[1] for name in steps} == {
        *("Chunks", "Read", "Decode", "Classify", "Write")
    }
    shuffles = {
        each.unique_name.split("/")[0]
        for each in pipeline.components.transforms.values()
        if each.spec.urn == common_urns.primitives.GROUP_BY_KEY.urn
    }
    assert shuffles <= {"List", "Earlier", "Cut", "WriteLedger", "Spread"}

    folder = f"{on_cloud.bucket}/tmp/mobilenet-beam/networks"
    (network,) = [name for name in storage_for(folder).names(folder) if "litert" in name]
    with storage_for(folder).open(f"{folder}/{network}") as file:
        archive = file.read()
    pieces = [archive[place : place + 32] for place in range(0, len(archive), 32)]
    weights = [piece for piece in pieces if len(set(piece)) > 24]  # neither zeros nor a table
    assert len(weights) > 10
    functions = b"".join(unpacked_functions(pipeline))
    assert f"{folder}/{network}".encode() in functions
    assert not any(piece in functions for piece in weights)
    assert b"google.auth" not in functions
    assert b"google.oauth2" not in functions


def test_only_the_stage_that_labels_asks_for_a_gpu(on_cloud: Cloud, tiny_model: TinyModel) -> None:
    done = on_cloud.submit("gpu", *tiny_model.options(), "--gpu", "nvidia-l4:2", "--no-wait")
    assert done.code == 0, done.err
    pipeline = on_cloud.pipeline()
    hints = {
        key: dict(environment.resource_hints).get(HINT, b"").decode()
        for key, environment in pipeline.components.environments.items()
    }
    hint = "type:nvidia-l4;count:2;machine_type:g2-standard-24;install-nvidia-driver"
    steps = {
        each.unique_name: hints[each.environment_id]
        for each in pipeline.components.transforms.values()
        if each.environment_id and not each.subtransforms
    }
    assert {name.split("/")[0] for name in steps if steps[name] == hint} == {"Label"}
    assert {name.split("/")[0] for name in steps if steps[name] == ""} == {
        *("Sources", "List", "Earlier", "Cut", "Shards", "Spread"),
        *("Lines", "AllLines", "WriteLedger"),
    }
    assert set(steps.values()) == {hint, ""}

    job = on_cloud.recorder.job
    assert job["name"].startswith("mobilenet-beam-r-")
    assert job["labels"] == {
        "mobilenet-beam": "0-1-0",
        "run-id": job["name"].removeprefix("mobilenet-beam-"),
    }
    environment = job["environment"]
    assert "no_use_multiple_sdk_containers" in environment["experiments"]
    assert "use_multiple_sdk_containers" not in environment["experiments"]
    assert "use_runner_v2" in environment["experiments"]
    assert environment.get("serviceOptions", []) == []
    (pool,) = environment["workerPools"]
    assert (pool["diskSizeGb"], pool["numThreadsPerWorker"]) == (50, 4)
    assert "machineType" not in pool  # of all workers: the hint has that of the GPU's
    assert {each["containerImage"] for each in pool["sdkHarnessContainerImages"]} == {
        on_cloud.image
    }


def test_a_failed_job_raises_the_reason_that_the_service_gives() -> None:
    recorder = Recorder()
    recorder.job = {"name": "job", "clientRequestId": "1"}
    recorder.states = ["JOB_STATE_RUNNING", "JOB_STATE_FAILED"]
    recorder.errors = [
        "Traceback:\nMemoryError: out of memory",
        "a work item was attempted 4 times without success",
    ]
    options = [*recorder.options(), "--project=my-project", "--region=europe-west4"]
    said: list[str] = []
    with pytest.raises(JobFailedError) as failure:
        follow(Job(JOB_ID, "my-project", "europe-west4"), PipelineOptions(options), said.append)
    recorder.stop()
    assert recorder.importance == ["4"]
    assert said == ["running: listing and loading, 0 s"]
    assert str(failure.value) == (
        f"job {JOB_ID} ended as FAILED: MemoryError: out of memory; see {LINK}"
    )


@pytest.mark.parametrize(
    ("state", "over"), [("RUNNING", False), ("DONE", True), ("FAILED", True), ("CANCELLED", True)]
)
def test_the_service_tells_whether_a_job_is_over(state: str, over: bool) -> None:
    recorder = Recorder()
    recorder.job = {"name": "job", "clientRequestId": "1"}
    recorder.states = [f"JOB_STATE_{state}"]
    said: list[str] = []
    job = Job(JOB_ID, "my-project", "europe-west4")
    options = PipelineOptions([*recorder.options(), "--project=another"])
    assert is_over(job, options, said.append) is over
    assert recorder.asked == [f"/v1b3/projects/my-project/locations/europe-west4/jobs/{JOB_ID}"]
    recorder.stop()
    assert said == []


def test_a_job_of_which_the_service_does_not_tell_may_still_run() -> None:
    said: list[str] = []
    options = PipelineOptions(["--dataflow_endpoint=http://localhost:1", "--no_auth"])
    assert not is_over(Job(JOB_ID, "my-project", "europe-west4"), options, said.append)
    (line,) = said
    assert line.startswith(f"job {JOB_ID} may still run, which the service does not tell: ")
    assert line.endswith(f"; see {LINK}")


def test_a_second_run_beside_a_job_that_goes_on_is_refused(
    on_cloud: Cloud, tiny_model: TinyModel
) -> None:
    first = on_cloud.submit("twice", *tiny_model.options(), "--no-wait")
    assert first.code == 0, first.err
    on_cloud.recorder.states = ["JOB_STATE_RUNNING"]
    second = on_cloud.submit("twice", *tiny_model.options(), "--no-wait", "--resume")
    assert second.code == 2
    run_id = first.out.split()[-1]
    assert second.err == (
        f"error: --output '{on_cloud.bucket}/twice' is in use by run {run_id} (Dataflow job "
        f"{JOB_ID}): wait for its end, or give another folder; if it is surely gone, delete "
        f"{on_cloud.bucket}/twice/ledger/claim-00001.json\n"
    )
    on_cloud.recorder.states = ["JOB_STATE_CANCELLED"]
    assert on_cloud.submit("twice", *tiny_model.options(), "--no-wait", "--resume").code == 0


def test_a_template_is_written_instead_of_a_job(
    on_cloud: Cloud, tiny_model: TinyModel, tmp_path: Path
) -> None:
    on_cloud.recorder.job = {}
    template = tmp_path / "job.json"
    done = on_cloud.submit("template", *tiny_model.options(), f"--template_location={template}")
    assert done.code == 0, done.err
    assert "no job was created" in done.out
    assert on_cloud.recorder.job == {}
    job = json.loads(template.read_text())
    assert job["name"].startswith("mobilenet-beam-r-")
