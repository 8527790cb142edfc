"""`python -m pipeline.finish`: ends a run whose Dataflow job was submitted with --no-wait.

Waits for the job if it still runs, then accounts as `pipeline.run` does, with its exit codes. Of a
run from a Flex Template it does not know the job: that must be over.
"""

import sys
import warnings

import click

from pipeline.config import UsageError
from pipeline.console.reading_command import OneLineErrors
from pipeline.running.conclusion import USAGE, exit_code, report_failure, summary
from pipeline.running.launch import RunFailedError, finish
from pipeline.running.run_facts import read_start

_PROG = "python -m pipeline.finish"


@click.command(cls=OneLineErrors, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("output", metavar="OUTPUT")
@click.argument("run_id", metavar="RUN_ID")
@click.pass_context
def main(context: click.Context, /, output: str, run_id: str) -> None:
    """Wait for the Dataflow job of a run, account for it and write OUTPUT/runs/RUN_ID.json.

    RUN_ID is the name of a file in OUTPUT/ledger. A run from a Flex Template is accounted for as it
    is: wait for the end of its job first.
    """
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    try:
        start = read_start(output, run_id)
    except UsageError as error:
        click.echo(f"error: {error}", err=True)
        context.exit(USAGE)
    try:
        outcome = finish(start, say=lambda line: click.echo(line, err=True))
    except RunFailedError as error:
        context.exit(report_failure(error, "the command that began the run, with --resume"))
    click.echo(summary(outcome, start.config))
    context.exit(exit_code(outcome, start.config))


if __name__ == "__main__":
    main(prog_name=_PROG)
