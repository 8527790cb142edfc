"""`python -m pipeline.finish`: ends a run whose Dataflow job was submitted with --no-wait.

Waits for the job if it still runs, then accounts as `pipeline.run` does, with its exit codes. Of a
run from a Flex Template it does not know the job: that must be over.
"""

import click

from pipeline.console.command import LOCATION, SETTINGS, OneLineErrors, importing_beam
from pipeline.running.run_log import run_log

_PROG = "python -m pipeline.finish"


@click.command(cls=OneLineErrors, context_settings=SETTINGS)
@click.argument("output", metavar="OUTPUT", type=LOCATION)
@click.argument("run_id", metavar="RUN_ID")
@click.pass_context
def main(context: click.Context, /, output: str, run_id: str) -> None:
    """Wait for the Dataflow job of a run, account for it and write OUTPUT/runs/RUN_ID.json.

    RUN_ID is the name of a file in OUTPUT/ledger. A run from a Flex Template is accounted for as it
    is: wait for the end of its job first.
    """
    with run_log() as log:
        with importing_beam():
            from pipeline.running import conclusion
            from pipeline.running.beam_options import parse_beam_options
            from pipeline.running.launch import RunFailedError, finish
            from pipeline.running.run_facts import read_start

        start = read_start(output, run_id)
        configuration = start.configuration
        beam_options = parse_beam_options(configuration["beam_options"])
        try:
            outcome = finish(start, beam_options, say=lambda line: click.echo(line, err=True))
        except RunFailedError as error:
            again = "the command that began the run, with --resume"
            context.exit(conclusion.report_failure(error, again, log))
    click.echo(conclusion.summary(outcome, output, configuration["resume"]))
    context.exit(conclusion.exit_code(outcome, output, configuration["max_failure_rate"]))


if __name__ == "__main__":
    main(prog_name=_PROG)
