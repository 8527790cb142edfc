"""Writes the table of docs/options.md: `python -m pipeline.console.options_table`."""

import re
from pathlib import Path

import click

from pipeline.console.command import GroupedOption, click_attributes
from pipeline.options import RunOptions, options_of

PAGE = Path("docs/options.md")
_TABLE = re.compile(r"(<!-- options:[^>]*-->\n)(.*?)(<!-- /options -->)", re.DOTALL)


def options_table() -> str:
    """Every option of `pipeline.run` as a Markdown table, in the order of its help."""
    context = click.Context(click.Command("run"))
    lines = ["| option | meaning |", "|---|---|"]
    for option in options_of(RunOptions):
        parameter = GroupedOption([option.flag, option.name], **click_attributes(option))
        flag, meaning = parameter.get_help_record(context) or ("", "")
        lines.append(f"| `{_cell(flag)}` | {_cell(meaning)} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def with_table(page: str) -> str:
    """`page` with the table between its two markers."""
    return _TABLE.sub(lambda found: found[1] + options_table() + found[3], page)


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
