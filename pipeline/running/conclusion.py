"""What a person reads when a run has ended, one way or another, and the exit code for a script."""

import re
import shlex
import tempfile
import traceback
from collections.abc import Sequence
from typing import Final

import click

from pipeline.console.command import INTERRUPTED
from pipeline.running.account import Account
from pipeline.running.launch import Outcome, RunFailedError
from pipeline.running.run_facts import Start
from transforms.layout import PREDICTIONS, run_folder
from transforms.storage import join

_QUERY_COMMAND: Final = "python -m pipeline.query"
_FAILED, _TOO_MANY_FAILURES, _UNBALANCED = 1, 3, 4


def summary(outcome: Outcome, output: str, resume: bool) -> str:
    """What a person wants to know after a run whose rows are in `output`."""
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
    """What to type to see the rows; after several runs those of the latest."""
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
    """One word of a shell's; SQL is full of single quotes."""
    return '"' + re.sub(r'[\\"$`]', r"\\\g<0>", text) + '"'


def submitted(start: Start) -> str:
    """What a person needs of a job that goes on without this process."""
    if start.job is None:
        return f"run {start.run_id}: no job was created, as --template_location or --dry_run asks"
    return "\n".join(
        [f"job {start.job.id}", start.job.link, *start.notes, "", start.finish_command]
    )


def _images(count: int) -> str:
    return f"{count:,} image" if count == 1 else f"{count:,} images"


def report_failure(failure: RunFailedError, command: str) -> int:
    """Says why there is no outcome, and what `command` goes on from there; the exit code."""
    error, start = failure.__cause__, failure.start
    assert error is not None  # it is only ever raised from one
    if _is_interrupt(error) and start.job is not None:
        click.echo("stopped waiting; the job goes on. To end the run when it is done:", err=True)
        click.echo(f"  {start.finish_command}", err=True)
        return INTERRUPTED
    if start.job is not None and not _is_job_failure(error):
        click.echo(f"error: lost sight of job {start.job.id}: {cause(error)}", err=True)
        click.echo(f"  {start.job.link}", err=True)
        click.echo("  the job may go on. To end the run when it is done:", err=True)
        click.echo(f"  {start.finish_command}", err=True)
        return _FAILED
    kept = f"{failure.finished:,} shards" if failure.finished != 1 else "1 shard"
    kept = f"{kept} of {start.run_id} are finished and kept" if failure.finished else ""
    if _is_interrupt(error):
        click.echo("stopped", err=True)
    else:
        click.echo(f"error: the run failed: {cause(error)}", err=True)
        click.echo(f"  the traceback is in {_keep_traceback(error)}", err=True)
    click.echo(f"  {kept or 'no shard was finished'}; to go on from here:", err=True)
    click.echo(f"  {command}", err=True)
    return INTERRUPTED if _is_interrupt(error) else _FAILED


def _is_job_failure(error: BaseException) -> bool:
    from pipeline.dataflow.job import JobFailedError  # imported already, where there is a job

    return isinstance(error, JobFailedError)


def resume_command(command: str, arguments: Sequence[str]) -> str:
    """What goes on from what `command` began with these arguments, as a shell takes it."""
    resume = [] if "--resume" in arguments else ["--resume"]
    return shlex.join([*command.split(), *arguments, *resume])


def _is_interrupt(error: BaseException | None) -> bool:
    """Whether Ctrl-C is at the bottom of it; Beam wraps that as it wraps any exception."""
    return error is not None and (
        isinstance(error, KeyboardInterrupt) or _is_interrupt(error.__context__)
    )


def cause(error: BaseException) -> str:
    """The last line of an exception that came through Beam, which repeats tracebacks in it."""
    lines = str(error).split(" [while running", 1)[0].strip().splitlines()
    return lines[-1] if lines else type(error).__name__


def _keep_traceback(error: BaseException) -> str:
    """The path of a log with the whole traceback, or why there is none: the disk may be full."""
    text = "".join(traceback.format_exception(error))
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="mobilenet-beam-", suffix=".log", delete=False
        ) as file:
            file.write(text)
    except OSError as why:
        return f"no file ({why.strerror})"
    return file.name


def exit_code(outcome: Outcome, output: str, max_failure_rate: float) -> int:
    """By what the account says; a code that is not 0 is explained."""
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
