"""`python -m pipeline.report`: the command. Exit codes: 0 written; 1 failed; 2 wrong usage."""

import click

from pipeline.console.command import LOCATION, SETTINGS, OneLineErrors, version_option
from pipeline.report.gather import gather
from pipeline.report.render import render
from transforms.failures import printable
from transforms.storage import join, storage_for

_PROG = "python -m pipeline.report"
_FAILED = 1
_FILE = "report.html"


@click.command(
    cls=OneLineErrors,
    context_settings=SETTINGS,
    epilog="The file holds its pictures and needs no network. Pictures are made from the images as "
    "they are now; one that is gone or has changed is marked.",
)
@click.argument("output", type=LOCATION)
@click.option(
    "--html",
    metavar="FILE",
    type=LOCATION,
    help="Where it goes.  [default: OUTPUT/report.html]",
)
@click.option("--seed", default=0, show_default=True, help="Draws the images of the contact sheet.")
@version_option
@click.pass_context
def main(context: click.Context, output: str, html: str | None, seed: int) -> None:
    """Write an output folder of pipeline.run up as one HTML file.

    python -m pipeline.report out/
    """
    path = html or f"{output}/"
    if path.endswith("/"):
        path = join(path, _FILE)
    folder, _, file = path.rpartition("/")
    try:
        page = render(gather(output, seed))
        storage_for(path).write(
            folder or ("/" if path.startswith("/") else "."), file, page.encode()
        )
    except OSError as error:
        click.echo(f"error: the report cannot be made: {printable(str(error))}", err=True)
        context.exit(_FAILED)
    click.echo(path)


if __name__ == "__main__":
    main(prog_name=_PROG)
