"""`python -m pipeline.run`: classify images, one Parquet row each.

Exit codes: 0 done; 1 the run failed; 2 wrong usage or configuration, found before anything ran;
3 too many failures; 4 the ledger does not balance.
"""

import shlex
import sys
import tempfile
import traceback
import warnings
from collections.abc import Sequence
from typing import Any, get_args

import click

from pipeline import __version__
from pipeline.beam_options import check_beam_options
from pipeline.command import ARGUMENTS, GroupedCommand, option
from pipeline.config import Config, UsageError
from pipeline.describe_plan import describe_plan, plan_json
from pipeline.launch import Outcome, RunFailedError, launch
from pipeline.plan import make_plan
from pipeline.prices import Prices
from pipeline.run_facts import Start
from transforms.models.resolve import ScalingName

_PROG = "python -m pipeline.run"
USAGE = 2
_FAILED, _TOO_MANY_FAILURES, _UNBALANCED, _INTERRUPTED = 1, 3, 4, 130
_PLAN_FORMAT = click.Choice(["text", "json"])


@click.command(
    cls=GroupedCommand,
    context_settings={
        "ignore_unknown_options": True,
        "allow_extra_args": True,
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
    },
    epilog="Any other option is handed to Apache Beam, e.g. --project or --temp_location.",
)
@option("Input and output", "--input", "inputs", multiple=True, metavar="PATH")
@option("Input and output", "--manifest", "manifests", multiple=True, metavar="FILE")
@option("Input and output", "--manifest-column", metavar="NAME")
@option("Input and output", "--output", metavar="FOLDER")
@option("Input and output", "--shard-size", type=int, metavar="N")
@option("Input and output", "--resume", is_flag=True)
@option("Input and output", "--retry-all-errors", is_flag=True)
@option("Model", "--model", metavar="NAME|FILE")
@option("Model", "--alpha", type=float, metavar="X")
@option("Model", "--image-size", type=int, metavar="PIXELS")
@option("Model", "--weights", metavar="imagenet|FILE")
@option("Model", "--labels", metavar="FILE")
@option("Model", "--scaling", type=click.Choice(list(get_args(ScalingName))))
@option("Model", "--top-k", type=int, metavar="K")
@option("Images", "--resize", type=click.Choice(["crop", "squash", "keras"]))
@option("Images", "--max-bytes", type=int, metavar="N")
@option("Images", "--max-pixels", type=int, metavar="N")
@option("Speed", "--engine", type=click.Choice(["auto", "tensorflow", "litert"]))
@option("Speed", "--precision", type=click.Choice(["float32", "int8", "float16", "bfloat16"]))
@option("Speed", "--batch-size", type=int, metavar="N")
@option("Running", "--runner", metavar="NAME")
@option("Running", "--gpu", metavar="TYPE[:COUNT]")
@option("Running", "--no-wait", is_flag=True)
@option("Running", "--max-failure-rate", type=float, metavar="SHARE")
@option("Planning", "--dry-run", is_flag=False, flag_value="text", type=_PLAN_FORMAT)
@option("Planning", "--deadline-hours", type=float, metavar="HOURS")
@click.version_option(__version__, prog_name="mobilenet-beam")
@click.pass_context
def main(context: click.Context, /, **options: Any) -> None:
    r"""Classify images with MobileNet and write one Parquet row for each of them.

    \b
    python -m pipeline.run --runner=DirectRunner --input photos/ --output out/
    """
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    given = {name: value for name, value in options.items() if value is not None}
    config = Config(**given, beam_options=tuple(context.args))
    try:
        check_beam_options(context.args, (name for p in context.command.params for name in p.opts))
        if config.dry_run:
            click.echo(_plan(config))
            context.exit(0)
        outcome = launch(config, _say)
    except UsageError as error:
        click.echo(f"error: {error}", err=True)
        context.exit(USAGE)
    except RunFailedError as error:
        context.exit(report_failure(error, resume_command(context.meta[ARGUMENTS])))
    except KeyboardInterrupt:
        click.echo("stopped before anything ran", err=True)
        context.exit(_INTERRUPTED)
    if isinstance(outcome, Start):
        click.echo(_submitted(outcome))
        context.exit(0)
    click.echo(summary(outcome, config))
    context.exit(exit_code(outcome, config))


def _plan(config: Config) -> str:
    prices = Prices()
    plan = make_plan(config, _say, prices)
    if config.dry_run == "json":
        return plan_json(plan, prices)
    return describe_plan(plan, config, prices)


def _say(line: str) -> None:
    click.echo(line, err=True)


def summary(outcome: Outcome, config: Config) -> str:
    """What a person wants to know after a run."""
    account = outcome.account
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in account.errors.items())
    skipped = f", {account.skipped:,} skipped: their rows are current" if config.resume else ""
    folder = config.output.rstrip("/")
    lines = [
        f"{_images(account.listed)} listed, {account.predicted:,} predicted, "
        f"{account.failed:,} failed" + (f" ({reasons})" if reasons else "") + skipped,
        f"{outcome.seconds:.1f} s, {outcome.images_per_second:,.0f} images/s with {outcome.model}",
        f"{folder}/predictions/run_id={outcome.run_id}",
        "",
        f"duckdb -c \"SELECT uri, label, score, error FROM '{folder}/predictions/*/*.parquet'\"",
    ]
    if account.duplicates:
        lines.insert(1, f"{_images(account.duplicates)} named again, counted once")
    return "\n".join(lines)


def _submitted(start: Start) -> str:
    """What a person needs of a job that goes on without this process."""
    if start.job is None:
        return f"run {start.run_id}: no job was created, as --template_location or --dry_run asks"
    return f"job {start.job.id}\n{start.job.link}\n\n{start.finish_command}"


def _images(count: int) -> str:
    return f"{count:,} image" if count == 1 else f"{count:,} images"


def report_failure(failure: RunFailedError, command: str) -> int:
    """Says why there is no outcome, and what `command` goes on from there; the exit code."""
    error, start = failure.__cause__, failure.start
    assert error is not None  # it is only ever raised from one
    if _is_interrupt(error) and start.job is not None:
        click.echo("stopped waiting; the job goes on. To end the run when it is done:", err=True)
        click.echo(f"  {start.finish_command}", err=True)
        return _INTERRUPTED
    kept = f"{failure.finished:,} shards" if failure.finished != 1 else "1 shard"
    kept = f"{kept} of {start.run_id} are finished and kept" if failure.finished else ""
    if _is_interrupt(error):
        click.echo("stopped", err=True)
    else:
        click.echo(f"error: the run failed: {cause(error)}", err=True)
        click.echo(f"  the traceback is in {_keep_traceback(error)}", err=True)
    click.echo(f"  {kept or 'no shard was finished'}; to go on from here:", err=True)
    click.echo(f"  {command}", err=True)
    return _INTERRUPTED if _is_interrupt(error) else _FAILED


def resume_command(arguments: Sequence[str]) -> str:
    """The command that goes on from what `arguments` began, as a shell takes it."""
    resume = [] if "--resume" in arguments else ["--resume"]
    return shlex.join([*_PROG.split(), *arguments, *resume])


def _is_interrupt(error: BaseException | None) -> bool:
    """Whether Ctrl-C is at the bottom of it; Beam wraps that as it wraps any exception."""
    return error is not None and (
        isinstance(error, KeyboardInterrupt) or _is_interrupt(error.__context__)
    )


def cause(error: BaseException) -> str:
    """The last line of an exception that came through Beam, which repeats tracebacks in it."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1].split(" [while running", 1)[0]


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


def exit_code(outcome: Outcome, config: Config) -> int:
    """By what the account says; a code that is not 0 is explained."""
    account = outcome.account
    if account.differences:
        click.echo("error: the ledger does not balance:", err=True)
        for difference in account.differences:
            click.echo(f"  {difference}", err=True)
        return _UNBALANCED
    if account.failure_rate > config.max_failure_rate:
        click.echo(
            f"error: {account.failure_rate:.1%} of the images failed, more than "
            f"--max-failure-rate {config.max_failure_rate:g}",
            err=True,
        )
        return _TOO_MANY_FAILURES
    return 0


if __name__ == "__main__":
    main(prog_name=_PROG)
