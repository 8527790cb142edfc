"""Beam's own options, parsed; one that Beam does not know is refused."""

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NoReturn

from apache_beam.options.pipeline_options import PipelineOptions, _BeamArgumentParser

from pipeline.options import UsageError

# Such as --s3_secret_access_key, --s3_session_token and --azure_connection_string.
_SECRET: Final = re.compile("secret|password|token|access_key|credential|connection_string")


class _BeamParser(_BeamArgumentParser):
    """Every option of every Beam runner, without abbreviations and without an exit."""

    def __init__(self) -> None:
        super().__init__(add_help=False, allow_abbrev=False, conflict_handler="resolve")
        for options in _subclasses(PipelineOptions):
            options._add_argparse_args(self)

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def parse_beam_options(arguments: Sequence[str], own: Iterable[str] = ()) -> PipelineOptions:
    """The options in `arguments`, what the command did not take itself.

    Args:
        arguments: every one must be an option that Beam knows, or the value of one.
        own: the command's own option names, for the suggestion.

    Raises:
        UsageError: one is not; names the nearest option there is.
    """
    parser = _BeamParser()
    for argument in parser.parse_known_args(list(arguments))[1]:
        if not argument.startswith("-"):
            raise UsageError(
                f"unexpected argument {argument!r}; an input is given as --input {argument}"
            )
        name = argument.split("=", 1)[0]
        known = [*own, *parser._option_string_actions]
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else "; --help lists the options"
        raise UsageError(f"no such option: {name}{hint}")
    return PipelineOptions(list(arguments))


def _subclasses(options: type[PipelineOptions]) -> Iterator[type[PipelineOptions]]:
    for subclass in options.__subclasses__():
        if subclass.__module__.startswith("apache_beam.options."):
            yield subclass
            yield from _subclasses(subclass)


def without_secrets(options: Sequence[str]) -> tuple[str, ...]:
    """The same options with `***` for the value of each whose name says that it is a secret."""
    shown, hide = [], False
    for option in options:
        name, separator, _ = option.partition("=")
        is_secret = _SECRET.search(name) is not None and name.startswith("-")
        if is_secret and separator:
            option = f"{name}=***"
        elif hide and not option.startswith("-"):
            option = "***"
        hide = is_secret and not separator
        shown.append(option)
    return tuple(shown)
