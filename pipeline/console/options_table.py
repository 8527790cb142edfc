"""Writes the table of options into the README: `python -m pipeline.console.options_table`."""

import re
from pathlib import Path

import click

from pipeline.console.command import HELP
from pipeline.run import main as run

README = Path("README.md")
_TABLE = re.compile(r"(<!-- options:[^>]*-->\n)(.*?)(<!-- /options -->)", re.DOTALL)


def options_table() -> str:
    """Every option of `pipeline.run` as a Markdown table, in the order of its help."""
    context = click.Context(run)
    lines = ["| option | meaning |", "|---|---|"]
    for parameter in run.get_params(context):
        record = parameter.get_help_record(context)
        if record and parameter.opts[0] in HELP:
            flag, meaning = (part.replace("|", "\\|") for part in record)
            lines.append(f"| `{flag}` | {meaning} |")
    return "\n".join(lines) + "\n"


def with_table(readme: str) -> str:
    """`readme` with the table between its two markers."""
    return _TABLE.sub(lambda found: found[1] + options_table() + found[3], readme)


if __name__ == "__main__":
    README.write_text(with_table(README.read_text()))
