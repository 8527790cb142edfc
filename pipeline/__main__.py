"""All commands under one name: `mobilenet-beam COMMAND`, or `python -m pipeline COMMAND`.

A shell can complete `mobilenet-beam`; the help says how it learns to.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import Final

import click

from pipeline.console.command import SETTINGS, OneLineErrors, version_option
from transforms.models.errors import nearest

_PROG: Final = "mobilenet-beam"
# Said here as well, since asking each command would take the seconds of importing them.
_COMMANDS: Final = {
    "run": "Classify images with MobileNet and write one Parquet row for each of them.",
    "classify": "Name what is on photographs.",
    "query": "Ask what a folder of results holds.",
    "report": "Make one HTML file of a folder of results.",
    "finish": "End a run whose Dataflow job was submitted with --no-wait.",
    "describe": "Show every layer of a network and what it saves.",
    "demo": "Classify the photographs that come with the repository.",
}
_COMPLETION: Final = f"""\b
Completion of commands, options and files, in ~/.bashrc or ~/.zshrc:
  eval "$(_MOBILENET_BEAM_COMPLETE=bash_source {_PROG})"
  eval "$(_MOBILENET_BEAM_COMPLETE=zsh_source {_PROG})"
in ~/.config/fish/completions/{_PROG}.fish:
  _MOBILENET_BEAM_COMPLETE=fish_source {_PROG} | source"""


class Commands(OneLineErrors, click.Group):
    """Imports a command when it is asked for, and no other."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of use."""
        return [name for name in _COMMANDS if find_spec(f"pipeline.{name}")]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of the module of that name."""
        if cmd_name not in self.list_commands(ctx):
            return None
        module = import_module(f"pipeline.{cmd_name}")
        command = getattr(module, "main", None) or import_module(f"{module.__name__}.__main__").main
        return (
            command
            if isinstance(command, click.Command)
            else click.Command(cmd_name, callback=command)
        )

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but with the nearest name for one that is unknown."""
        names = self.list_commands(ctx)
        if args and not args[0].startswith("-") and args[0] not in names:
            raise click.UsageError(
                f"no such command: {args[0]}{nearest(args[0], names)}; there are {', '.join(names)}"
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """One line for each."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, _COMMANDS[name]) for name in self.list_commands(ctx)])


@click.group(cls=Commands, context_settings=SETTINGS, epilog=_COMPLETION)
@version_option
def main() -> None:
    """Millions of images in, one Parquet row each out, and what can be done with them."""


if __name__ == "__main__":
    main(prog_name=_PROG)
