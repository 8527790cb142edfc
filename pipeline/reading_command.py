"""What the commands that read have in common: their errors, their exit codes, their formats."""

import sys
import warnings
from collections.abc import Callable
from typing import Any, Final

import click

from pipeline import __version__
from pipeline.command import GroupedCommand, GroupedOption
from pipeline.config import UsageError
from pipeline.print_rows import format_options
from transforms.models.errors import ModelError, nearest

INTERRUPTED: Final = 130
_SHARED_GROUPS: Final = ("Format", "Other")


class ReadingCommand(GroupedCommand):
    """Ends every mistake of the user's with one line on standard error and exit code 2.

    Options may follow arguments. Ctrl-C ends it with exit code 130 and no traceback.
    """

    def __init__(self, *args: Any, **attributes: Any) -> None:
        """What all of them have stands last in the help."""
        super().__init__(*args, **attributes)
        self.params.sort(key=lambda parameter: getattr(parameter, "group", "") in _SHARED_GROUPS)

    def main(self, *args: Any, **extra: Any) -> Any:
        """Runs the command and exits, as `click.Command.main` does."""
        raise SystemExit(self._exit_code(*args, **extra | {"standalone_mode": False}))

    def _exit_code(self, *args: Any, **extra: Any) -> int:
        if not sys.warnoptions:
            warnings.simplefilter("ignore")
        try:
            return int(super().main(*args, **extra) or 0)
        except click.NoSuchOption as error:
            return self._refuse(f"no such option: {error.option_name}{self._hint(error)}")
        except click.ClickException as error:
            message = error.format_message()
            return self._refuse(message[:1].lower() + message[1:], error.exit_code)
        except (UsageError, ModelError) as error:
            return self._refuse(str(error))
        except (click.Abort, KeyboardInterrupt):
            return INTERRUPTED

    def _refuse(self, message: str, code: int = click.UsageError.exit_code) -> int:
        click.echo(f"error: {message}", err=True)
        return code

    def _hint(self, error: click.NoSuchOption) -> str:
        known = [flag for parameter in self.params for flag in parameter.opts]
        return nearest(error.option_name, known) or "; --help lists the options"


def own_option(group: str, flag: str, **attributes: Any) -> Callable[[Any], Any]:
    """An option that only this command has; see `pipeline.command.option` for those of a run."""
    return click.option(flag, cls=GroupedOption, group=group, **attributes)


def reading_command(examples: str, **settings: Any) -> Callable[[Callable[..., Any]], Any]:
    """A `ReadingCommand` with the five formats, --version and `examples` below its help."""

    def decorate(function: Callable[..., Any]) -> Any:
        version = click.version_option(
            __version__, prog_name="mobilenet-beam", cls=GroupedOption, group="Other"
        )
        command = click.command(
            cls=ReadingCommand,
            context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
            epilog=f"\b\n{examples}",
            **settings,
        )
        return command(format_options(version(function)))

    return decorate
