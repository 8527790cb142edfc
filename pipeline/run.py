"""`python -m pipeline.run`: classify images, one Parquet row each.

Exit codes: 0 done; 1 the run failed; 2 wrong usage or configuration, found before anything ran;
3 too many failures; 4 the ledger does not balance.
"""

import gc
import sys
import warnings
from typing import Any

import click

from pipeline import IS_COMMAND, __version__
from pipeline.config import Config, UsageError
from pipeline.console.command import ARGUMENTS, GroupedCommand, network_options, option
from pipeline.console.reading_command import OneLineErrors
from pipeline.planning.describe_plan import describe_plan, plan_json
from pipeline.planning.plan import make_plan
from pipeline.planning.prices import Prices
from pipeline.running.beam_options import check_beam_options
from pipeline.running.conclusion import (
    INTERRUPTED,
    RUN_COMMAND,
    USAGE,
    exit_code,
    report_failure,
    resume_command,
    submitted,
    summary,
)
from pipeline.running.launch import RunFailedError, launch
from pipeline.running.run_facts import Start

_PLAN_FORMAT = click.Choice(["text", "json"])
_EXAMPLES = """\
  python -m pipeline.run --input photos/ --output out/
  python -m pipeline.run --input 'gs://bucket/**/*.jpg' --output gs://bucket/out --dry-run
  python -m pipeline.run --manifest list.csv --output out/ --resume"""


class RunCommand(OneLineErrors, GroupedCommand):
    """Options in groups, and what click finds wrong with them in one line."""

    def invoke(self, ctx: click.Context) -> Any:
        """See `OneLineErrors.invoke`."""
        if IS_COMMAND:
            gc.freeze()  # whatever was imported lives to the end: nobody looks at it again
        return super().invoke(ctx)


@click.command(
    cls=RunCommand,
    context_settings={
        "ignore_unknown_options": True,
        "allow_extra_args": True,
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
    },
    epilog=f"\b\nExamples:\n{_EXAMPLES}\n\n"
    "Any other option is handed to Apache Beam, e.g. --project or --temp_location.",
)
@option("Input and output", "--input", "inputs", multiple=True, metavar="PATH")
@option("Input and output", "--manifest", "manifests", multiple=True, metavar="FILE")
@option("Input and output", "--manifest-column", metavar="NAME")
@option("Input and output", "--output", metavar="FOLDER")
@option("Input and output", "--shard-size", type=int, metavar="N")
@option("Input and output", "--resume", is_flag=True)
@option("Input and output", "--retry-all-errors", is_flag=True)
@network_options
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
    """Classify images with MobileNet and write one Parquet row for each of them."""
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
        context.exit(INTERRUPTED)
    if isinstance(outcome, Start):
        click.echo(submitted(outcome))
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


if __name__ == "__main__":
    main(prog_name=RUN_COMMAND)
