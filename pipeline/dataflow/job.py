"""A job on Dataflow from outside: submitted, followed, and found again later."""

import time
from collections.abc import Callable
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from apache_beam.runners.dataflow.dataflow_metrics import DataflowMetrics
from apache_beam.runners.dataflow.dataflow_runner import DataflowPipelineResult
from apache_beam.runners.dataflow.internal.apiclient import DataflowApplicationClient
from apache_beam.runners.runner import PipelineState

from pipeline.running.metrics import Metrics, totals
from pipeline.running.progress import Progress
from pipeline.running.run_facts import Job

# Seconds between looks at the job: soon at first, since most mistakes show in the first minute.
_FIRST_LOOK_S, _LAST_LOOK_S, _SLOWER = 1.0, 30.0, 1.3
_ERROR = "JOB_MESSAGE_ERROR"


class JobFailedError(Exception):
    """The job ended as anything but done; the message is the service's own."""


def submit(p: beam.Pipeline) -> Job | None:
    """Stages what the workers need and creates the job, which then no longer needs this machine.

    None if there is none yet: --template_location leaves it to somebody else to create it.
    """
    cloud = p.options.view_as(GoogleCloudOptions)
    result: Any = p.run()
    return (
        Job(result.job_id(), cloud.project, cloud.region)
        if getattr(result, "has_job", False)
        else None
    )


def follow(job: Job, options: PipelineOptions, say: Callable[[str], None]) -> tuple[float, Metrics]:
    """Waits for the end of a job and says now and then how far it is.

    Returns:
        The seconds from its creation to its end, and its metrics.

    Raises:
        JobFailedError: it ended otherwise than done.
    """
    client = DataflowApplicationClient(options)
    counts: dict[str, int] = {}
    progress, wait, before = Progress(counts.copy), _FIRST_LOOK_S, ""
    while True:
        now = client.get_job(job.id)
        state = DataflowPipelineResult.api_jobstate_to_pipeline_state(now.current_state)
        metrics = totals(DataflowMetrics(client).all_metrics(job.id))
        if PipelineState.is_terminal(state):
            break
        if counts != metrics.counters or state != before:
            counts.update(metrics.counters)
            say(f"{state.lower()}: {progress.standing()}")
            before = state
        time.sleep(wait)
        wait = min(wait * _SLOWER, _LAST_LOOK_S)
    if state != PipelineState.DONE:
        reason = _reason(client, job)
        what = f"job {job.id} ended as {state}: {reason.splitlines()[-1]}; see {job.link}"
        raise JobFailedError(what) from RuntimeError(reason)
    return (now.current_state_time - now.create_time).total_seconds(), metrics


def is_over(job: Job, options: PipelineOptions, say: Callable[[str], None]) -> bool:
    """Whether a job is known to have ended, one way or another; `options` are Beam's of any run."""
    given = options.get_all_options(drop_default=True)
    of_job = {"project": job.project, "region": job.region}
    try:
        client = DataflowApplicationClient(PipelineOptions.from_dictionary(given | of_job))
        ask_once: Any = DataflowApplicationClient.get_job.__wrapped__  # Beam tries for minutes
        state = ask_once(client, job.id).current_state
    # The client raises what the libraries below it raise: there is no common class.
    except Exception as error:
        say(f"job {job.id} may still run, which the service does not tell: {error}; see {job.link}")
        return False
    ended = DataflowPipelineResult.api_jobstate_to_pipeline_state(state)
    return bool(PipelineState.is_terminal(ended))


def _reason(client: DataflowApplicationClient, job: Job) -> str:
    """The last error message of the job that says more than that a work item failed."""
    errors: list[str] = []
    token: Any = None
    while True:
        messages, token = client.list_messages(job.id, page_token=token, minimum_importance=_ERROR)
        errors += [message.message_text for message in messages]
        if not token:
            break
    telling = [error for error in errors if "work item was attempted" not in error]
    return (telling or errors or ["the service gives no reason"])[-1].strip()
