"""What is printed when a run has ended, and the exit code."""

import re
import shlex
from collections.abc import Sequence
from typing import Final

import click

from pipeline.console.stopping import exit_code_of, interrupt_of
from pipeline.running.account import Account
from pipeline.running.launch import RunFailedError
from pipeline.running.outcome import Outcome
from pipeline.running.run_facts import Job, Start
from pipeline.running.run_log import RunLog
from transforms.layout import PREDICTIONS, run_folder
from transforms.storage import join

_QUERY_COMMAND: Final = "python -m pipeline.query"
_FAILED, _TOO_MANY_FAILURES, _UNBALANCED = 1, 3, 4


def summary(outcome: Outcome, output: str, resume: bool) -> str:
    """What is printed after a run whose rows are in `output`."""
    account = outcome.account
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in account.errors.items())
    rate = f", {outcome.images_per_second:,.0f} images/s" if outcome.images_per_second else ""
    lines = [
        f"{_images(account.listed)} listed, {account.predicted:,} predicted, "
        f"{account.failed:,} failed"
        + (f" ({reasons})" if reasons else "")
        + (_skipped(account) if resume else ""),
        f"{outcome.seconds:.1f} s{rate} with {outcome.model}",
        *outcome.notes,
    ]
    if account.duplicates:
        lines.insert(1, f"{_images(account.duplicates)} named again, counted once")
    if account.files:
        lines.append(join(output, run_folder(outcome.run_id)))
    return "\n".join([*lines, "", *_next_commands(output, resume)])


def _skipped(account: Account) -> str:
    errors = f", {account.skipped_errors:,} of them errors" if account.skipped_errors else ""
    again = " (--retry-all-errors tries those again)" if errors else ""
    return f", {account.skipped:,} skipped: their rows are current{errors}{again}"


def _next_commands(output: str, resume: bool) -> list[str]:
    """Commands that show the rows; after several runs the latest row of each image."""
    files = re.sub(r"[*?[]", r"[\g<0>]", join(output, PREDICTIONS)) + "/*/*.parquet"
    table, order = "'" + files.replace("'", "''") + "'", "run_id"
    # DuckDB takes folders such as label=cat/ for columns, before those in the files.
    if "=" in output:
        table, order = f"read_parquet({table}, hive_partitioning=false, filename=true)", "filename"
    rows = f"SELECT uri, label, score, error FROM {table}"
    latest = f" QUALIFY row_number() OVER (PARTITION BY uri ORDER BY {order} DESC) = 1"
    return [
        f"{_QUERY_COMMAND} {shlex.quote(output)}",
        f"duckdb -c {_double_quoted(rows + (latest if resume else ''))}",
    ]


def _double_quoted(text: str) -> str:
    """`text` as one argument in a shell; SQL itself needs single quotes."""
    return '"' + re.sub(r'[\\"$`]', r"\\\g<0>", text) + '"'


def submitted(start: Start) -> str:
    """What is printed of a job that goes on without this process."""
    if start.job is None:
        return f"run {start.run_id}: no job was created, as --template_location or --dry_run asks"
    return "\n".join(
        [f"job {start.job.id}", start.job.link, *start.notes, "", start.finish_command]
    )


def _images(count: int) -> str:
    return f"{count:,} image" if count == 1 else f"{count:,} images"


def report_failure(failure: RunFailedError, command: str, log: RunLog) -> int:
    """Prints why a run ended early and the `command` that goes on; returns the exit code."""
    error, start = failure.__cause__, failure.start
    assert error is not None  # it is only ever raised from one
    interrupt = interrupt_of(error)
    if start.job is not None and not _is_job_failure(error):
        lines = _of_job_that_goes_on(start, start.job, None if interrupt else error)
    else:
        kept = f"{failure.finished:,} shards" if failure.finished != 1 else "1 shard"
        kept = f"{kept} of {start.run_id} are finished and kept" if failure.finished else ""
        lines = [
            *(_stopped(log) if interrupt else _failed(error, log)),
            f"  {kept or 'no shard was finished'}; to go on from here:",
            f"  {command}",
        ]
    click.echo("\n".join(lines), err=True)
    return exit_code_of(interrupt) if interrupt else _FAILED


def _of_job_that_goes_on(start: Start, job: Job, error: BaseException | None) -> list[str]:
    """`error` is why this process waits no longer; None if it was told to stop."""
    if error is None:
        return [
            "stopped waiting; the job goes on. To end the run when it is done:",
            f"  {start.finish_command}",
        ]
    return [
        f"error: lost sight of job {job.id}: {cause(error)}",
        f"  {job.link}",
        "  the job may go on. To end the run when it is done:",
        f"  {start.finish_command}",
    ]


def _stopped(log: RunLog) -> list[str]:
    return ["stopped", *([f"  there were warnings, in {log.path}"] if log.path else [])]


def _failed(error: BaseException, log: RunLog) -> list[str]:
    return [f"error: the run failed: {cause(error)}", f"  the traceback is {log.keep(error)}"]


def _is_job_failure(error: BaseException) -> bool:
    from pipeline.dataflow.job import JobFailedError  # imported already, where there is a job

    return isinstance(error, JobFailedError)


def resume_command(command: str, arguments: Sequence[str]) -> str:
    """The shell command that goes on from what `command` did with these arguments."""
    resume = [] if "--resume" in arguments else ["--resume"]
    return shlex.join([*command.split(), *arguments, *resume])


def cause(error: BaseException) -> str:
    """The last line of an exception that came through Beam, which repeats tracebacks in it."""
    lines = str(error).split(" [while running", 1)[0].strip().splitlines()
    return lines[-1] if lines else type(error).__name__


def exit_code(outcome: Outcome, output: str, max_failure_rate: float) -> int:
    """The exit code that follows from the account; prints why if it is not 0."""
    account = outcome.account
    if account.differences:
        click.echo("error: the ledger does not balance:", err=True)
        for difference in account.differences:
            click.echo(f"  {difference}", err=True)
        return _UNBALANCED
    if account.failure_rate > max_failure_rate:
        click.echo(
            f"error: {account.failure_rate:.1%} of the images failed, more than "
            f"--max-failure-rate {max_failure_rate:g}; to see which and why:\n"
            f"  {_QUERY_COMMAND} {shlex.quote(output)} --failed",
            err=True,
        )
        return _TOO_MANY_FAILURES
    return 0
