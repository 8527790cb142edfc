"""What the commands that print rows have in common: their formats, and the order of their help."""

from collections.abc import Callable
from typing import Any, Final

import click

from pipeline.console.command import SETTINGS, GroupedCommand, GroupedOption, version_option
from pipeline.console.print_rows import format_options

_SHARED_GROUPS: Final = ("Format", "Other")


class ReadingCommand(GroupedCommand):
    """A command that prints rows."""

    def __init__(self, *args: Any, **attributes: Any) -> None:
        """What all of them have stands last in the help."""
        super().__init__(*args, **attributes)
        self.params.sort(key=lambda parameter: getattr(parameter, "group", "") in _SHARED_GROUPS)


def own_option(group: str, flag: str, **attributes: Any) -> Callable[[Any], Any]:
    """An option that only this command has; those of a run are in `pipeline.options`."""
    return click.option(flag, cls=GroupedOption, group=group, **attributes)


def reading_command(examples: str, **settings: Any) -> Callable[[Callable[..., Any]], Any]:
    """A `ReadingCommand` with the five formats, --version and `examples` below its help."""

    def decorate(function: Callable[..., Any]) -> Any:
        command = click.command(
            cls=ReadingCommand, context_settings=SETTINGS, epilog=f"\b\n{examples}", **settings
        )
        return command(format_options(version_option(function)))

    return decorate
