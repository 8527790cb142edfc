"""What the commands that read have in common: their errors, their exit codes, their formats."""

import gc
import sys
import warnings
from collections.abc import Callable
from difflib import SequenceMatcher
from typing import Any, Final

import click

from pipeline import __version__
from pipeline.config import UsageError
from pipeline.console.command import GroupedCommand, GroupedOption
from pipeline.console.print_rows import format_options
from transforms.models.errors import ModelError

INTERRUPTED: Final = 130
_LEAST_RATIO: Final = 0.6
_EQUALLY_NEAR: Final = 0.01
_SHARED_GROUPS: Final = ("Format", "Other")


class OneLineErrors(click.Command):
    """Ends every mistake of the user's with one line on standard error and exit code 2.

    Ctrl-C ends it with exit code 130 and no traceback.
    """

    def main(self, *args: Any, **extra: Any) -> Any:
        """Runs the command and exits, as `click.Command.main` does."""
        raise SystemExit(self._exit_code(*args, **extra | {"standalone_mode": False}))

    def invoke(self, ctx: click.Context) -> Any:
        """As `click.Command.invoke` does, when all is imported."""
        if not isinstance(self, click.Group):  # which only then imports the command
            gc.enable()  # see pipeline/__init__.py
        return super().invoke(ctx)

    def _exit_code(self, *args: Any, **extra: Any) -> int:
        if not sys.warnoptions:
            warnings.simplefilter("ignore")
        try:
            return int(super().main(*args, **extra) or 0)
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message(), err=True)
            return error.exit_code
        except click.NoSuchOption as error:
            return _refuse(f"no such option: {error.option_name}{_hint(error)}")
        except click.ClickException as error:
            message = error.format_message()
            return _refuse(message[:1].lower() + message[1:], error.exit_code)
        except (UsageError, ModelError) as error:
            return _refuse(str(error))
        except (click.Abort, KeyboardInterrupt):
            return INTERRUPTED


class ReadingCommand(OneLineErrors, GroupedCommand):
    """A command that prints rows."""

    def __init__(self, *args: Any, **attributes: Any) -> None:
        """What all of them have stands last in the help."""
        super().__init__(*args, **attributes)
        self.params.sort(key=lambda parameter: getattr(parameter, "group", "") in _SHARED_GROUPS)


def own_option(group: str, flag: str, **attributes: Any) -> Callable[[Any], Any]:
    """An option that only this command has; see `command.option` for those of a run."""
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


def _refuse(message: str, code: int = click.UsageError.exit_code) -> int:
    click.echo(f"error: {message}", err=True)
    return code


def _hint(error: click.NoSuchOption) -> str:
    command = error.ctx.command if error.ctx else None
    options = [one for one in (command.params if command else ()) if isinstance(one, click.Option)]
    known = [flag for option in options for flag in option.opts]
    ratios = {flag: SequenceMatcher(None, flag, error.option_name).ratio() for flag in known}
    best = max(ratios.values(), default=0.0)
    if best < _LEAST_RATIO:
        return "; --help lists the options"
    near = [repr(flag) for flag, ratio in ratios.items() if ratio > best - _EQUALLY_NEAR]
    return f" (did you mean {' or '.join(near)}?)"
