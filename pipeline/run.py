"""`python -m pipeline.run`: classify images, one Parquet row each.

Exit codes: 0 done; 1 the run failed; 2 wrong usage or configuration, found before anything ran;
3 too many failures; 4 the ledger does not balance; 130 stopped by Ctrl-C; 143 stopped by SIGTERM.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from pipeline.console.command import (
    ARGUMENTS,
    SETTINGS,
    GroupedCommand,
    importing_beam,
    options_from,
    version_option,
)
from pipeline.console.stopping import exit_code_of
from pipeline.options import RunOptions
from pipeline.running.run_log import run_log

if TYPE_CHECKING:
    from pipeline.running.outcome import Outcome
    from pipeline.running.run_facts import Start
    from pipeline.running.runner import Runner

_PROG: Final = "python -m pipeline.run"
_EXAMPLES: Final = f"""\
  {_PROG} --input photos/ --output out/
  {_PROG} --input 'gs://bucket/**/*.jpg' --output gs://bucket/out --dry-run
  {_PROG} --manifest list.csv --output out/ --resume"""


@click.command(
    cls=GroupedCommand,
    context_settings=SETTINGS | {"ignore_unknown_options": True, "allow_extra_args": True},
    epilog=f"\b\nExamples:\n{_EXAMPLES}\n\n"
    "Any other option is handed to Apache Beam, e.g. --project or --temp_location.",
)
@options_from(RunOptions)
@version_option
@click.pass_context
def main(context: click.Context, /, **given: Any) -> None:
    """Classify images with MobileNet and write one Parquet row for each of them."""
    options = RunOptions(**given, beam_options=tuple(context.args))
    flags = [flag for parameter in context.command.params for flag in parameter.opts]
    try:
        end = _run(options, flags, context.meta[ARGUMENTS])
    except KeyboardInterrupt as interrupt:
        click.echo("stopped before anything ran", err=True)
        context.exit(exit_code_of(interrupt))
    context.exit(end if isinstance(end, int) else _conclude(end, options))


def _run(
    options: RunOptions, flags: Sequence[str], arguments: Sequence[str]
) -> "Outcome | Start | int":
    """Plans or runs; an exit code where all is said."""
    with run_log(options.verbose) as log:
        with importing_beam():  # which takes a second: --help does without
            from pipeline.running.conclusion import report_failure, resume_command
            from pipeline.running.launch import RunFailedError, launch
            from pipeline.running.runner import settle_runner
            from transforms.storage.billing import bill_to

        bill_to(options.billing_project)
        runner = settle_runner(options, flags)
        if options.dry_run:
            click.echo(_plan(options, runner))
            return 0
        try:
            return launch(options, runner, _say, log)
        except RunFailedError as error:
            return report_failure(error, resume_command(_PROG, arguments), log)


def _conclude(end: "Outcome | Start", options: RunOptions) -> int:
    """Says what came of a run; the exit code."""
    from pipeline.running import conclusion
    from pipeline.running.run_facts import Start

    if isinstance(end, Start):
        click.echo(conclusion.submitted(end))
        return 0
    click.echo(conclusion.summary(end, options.output, options.resume))
    return conclusion.exit_code(end, options.output, options.max_failure_rate)


def _plan(options: RunOptions, runner: "Runner") -> str:
    from pipeline.planning.describe_plan import describe_plan, plan_json
    from pipeline.planning.plan import make_plan

    plan = make_plan(options, runner, _say)
    return plan_json(plan) if options.dry_run == "json" else describe_plan(plan)


def _say(line: str) -> None:
    click.echo(line, err=True)


if __name__ == "__main__":
    main(prog_name=_PROG)
