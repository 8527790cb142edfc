"""Click commands made from the options: help in groups, errors in one line with exit code 2."""

import gc
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import SequenceMatcher
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from pipeline import __version__
from pipeline.console.stopping import exit_code_of, stoppable
from pipeline.options import NetworkOptions, Option, UsageError, options_of
from transforms.models.errors import ModelError

ARGUMENTS: Final = "mobilenet_beam.arguments"
SETTINGS: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
_LEAST_RATIO: Final = 0.6
_EQUALLY_NEAR: Final = 0.01


class LocationType(click.ParamType):
    """A path or a URI. A shell leaves the `~` of `--output=~/out` as it is: expanded here."""

    name = "location"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The same with the home directory in place of a leading `~`."""
        return os.path.expanduser(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Leaves it to the shell to complete the name of a file."""
        return [CompletionItem(incomplete, type="file")]


LOCATION: Final = LocationType()


class GroupedOption(click.Option):
    """An option that knows under which heading of the help it stands."""

    def __init__(self, *args: Any, group: str = "Other", **kwargs: Any) -> None:
        """`group` is the heading."""
        super().__init__(*args, **kwargs)
        self.group = group


class OneLineErrors(click.Command):
    """Ends with one line on standard error and exit code 2 for any mistake of the user's.

    Ctrl-C ends it with exit code 130 and SIGTERM with 143, without a traceback.
    """

    def main(self, *args: Any, **extra: Any) -> Any:
        """Runs the command and exits, as `click.Command.main` does."""
        raise SystemExit(self._exit_code(*args, **extra | {"standalone_mode": False}))

    def _exit_code(self, *args: Any, **extra: Any) -> int:
        if not sys.warnoptions:
            warnings.simplefilter("ignore")
        try:
            with stoppable():
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
        except (click.Abort, KeyboardInterrupt) as error:
            return exit_code_of(error)


class GroupedCommand(OneLineErrors):
    """A command whose options are printed under headings, in the order they were given."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keeps the arguments as they were typed in `ctx.meta[ARGUMENTS]`."""
        ctx.meta[ARGUMENTS] = tuple(args)
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes one table for each heading."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record and isinstance(parameter, click.Option):
                groups.setdefault(getattr(parameter, "group", "Other"), []).append(record)
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl(records)


def options_from(
    options: type[NetworkOptions], *names: str
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Gives a command the options of that class, or those of these names."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options_of(options)):
            if not names or option.name in names:
                attributes = click_attributes(option)
                command = click.option(option.flag, option.name, cls=GroupedOption, **attributes)(
                    command
                )
        return command

    return decorate


def click_attributes(option: Option) -> dict[str, Any]:
    """What a `GroupedOption` is made from."""
    attributes = {
        "group": option.group,
        "default": option.default,
        "help": option.help,
        "metavar": option.metavar,
    }
    if option.type is bool:
        return attributes | {"is_flag": True}
    if option.bare is not None:
        attributes |= {"is_flag": False, "flag_value": option.bare}
    kind = click.Choice(option.choices) if option.choices else option.type
    return attributes | {
        "type": LOCATION if option.is_location else kind,
        "multiple": option.is_repeatable,
    }


version_option: Final = click.version_option(
    __version__, prog_name="mobilenet-beam", cls=GroupedOption, group="Other"
)


@contextmanager
def importing_beam() -> Iterator[None]:
    """Turns garbage collection off while Beam is imported, and exempts Beam's modules from it.

    Of a run of few images this saves a quarter of its CPU time.
    """
    if "apache_beam" in sys.modules:
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.freeze()


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
