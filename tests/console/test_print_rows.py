import csv
import fcntl
import io
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any, get_args

import click
import pytest
from click.testing import CliRunner

from pipeline.console.print_rows import Format, Share, format_options, print_rows
from tests.helpers.model_fixtures import ROOT

HOSTILE = "a|b\x1b[31m\n<script>`*_x_ two_words\u202e"


def printed(
    capsys: pytest.CaptureFixture[str], format: Format, rows: Sequence[Sequence[Any]], *columns: str
) -> str:
    print_rows(columns or ("value",), rows, format)
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def test_a_table_aligns_text_left_and_numbers_right(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [("Egyptian cat", 0.5, 1234567, False), ("猫", 12345.678, 8, True)]
    assert printed(capsys, "table", rows, "label", "score", "images", "flag") == (
        "label            score     images  flag\n"
        "Egyptian cat       0.5  1,234,567  false\n"
        "猫            12,345.7          8  true\n"
    )


def test_no_rows_are_still_a_header_or_an_empty_array(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "table", [], "uri", "label") == "uri  label\n"
    assert printed(capsys, "json", [], "uri") == "[]\n"
    assert printed(capsys, "ndjson", [], "uri") == ""
    assert printed(capsys, "csv", [], "uri", "label") == "uri,label\n"
    assert printed(capsys, "markdown", [], "uri", "label") == "| uri | label |\n|---|---|\n"


def test_json_keeps_every_value_that_json_has_a_word_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    row: tuple[Any, ...] = (
        1,
        2**80,
        0.1,
        True,
        None,
        "é\u2028",
        [{"score": 0.5}],
        Decimal("1.50"),
        b"\x01\xff",
    )
    row += (datetime(2026, 11, 23, 10, 15, tzinfo=timezone.utc), date(2026, 11, 23), {(1, 2): 3})
    columns = [f"c{index}" for index in range(len(row))]
    text = printed(capsys, "json", [row], *columns)
    assert [list(each.values()) for each in json.loads(text)] == [
        [1, 2**80, 0.1, True, None, "é\u2028", [{"score": 0.5}], 1.5, "01ff"]
        + ["2026-11-23T10:15:00+00:00", "2026-11-23", {"[1, 2]": 3}]
    ]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), Share("-inf"), Decimal("NaN")])
def test_what_is_no_number_is_null_in_json_and_empty_elsewhere(
    capsys: pytest.CaptureFixture[str], value: Any
) -> None:
    assert json.loads(printed(capsys, "json", [[value]])) == [{"value": None}]
    assert json.loads(printed(capsys, "ndjson", [[[{"a": value}]]])) == {"value": [{"a": None}]}
    assert printed(capsys, "csv", [[value, 1]], "a", "b") == "a,b\n,1\n"
    assert printed(capsys, "table", [[value]]) == "value\n\n"


def test_json_and_csv_carry_hostile_text_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(printed(capsys, "json", [[HOSTILE]])) == [{"value": HOSTILE}]
    assert json.loads(printed(capsys, "ndjson", [[HOSTILE]])) == {"value": HOSTILE}
    assert "\x1b" not in printed(capsys, "json", [[HOSTILE]])
    rows = list(csv.reader(io.StringIO(printed(capsys, "csv", [[HOSTILE, '=1+"x", y']], "a", "b"))))
    assert rows == [["a", "b"], [HOSTILE, '=1+"x", y']]


def test_tables_escape_what_does_not_print_and_what_is_markup(
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = printed(capsys, "table", [[HOSTILE]], HOSTILE)
    line = "a|b\\x1b[31m\\n<script>`*_x_ two_words\\u202e"
    assert table == f"{line}\n{line}\n"
    assert printed(capsys, "markdown", [[HOSTILE]], "a|b").splitlines() == [
        "| a\\|b |",
        "|---|",
        "| a\\|b\\\\x1b\\[31m\\\\n\\<script>\\`\\*\\_x\\_ two_words\\\\u202e |",
    ]


def test_a_share_is_per_cent_in_tables_and_a_number_elsewhere(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert printed(capsys, "table", [[Share(0.389)]]) == "value\n38.9%\n"
    assert printed(capsys, "markdown", [[Share(0.389)]]).splitlines()[-1] == "| 38.9% |"
    assert printed(capsys, "ndjson", [[Share(0.389)]]) == '{"value": 0.389}\n'
    assert printed(capsys, "csv", [[Share(0.389)]]) == "value\n0.389\n"


def test_lists_and_structs_are_json_in_csv(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "csv", [[[{"label": "cat", "score": 0.5}], False]], "top_k", "ok")
    (row,) = csv.DictReader(io.StringIO(text))
    assert json.loads(row["top_k"]) == [{"label": "cat", "score": 0.5}]
    assert row["ok"] == "false"


def test_a_long_table_repeats_its_header_for_each_thousand_rows(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = printed(capsys, "table", [[number] for number in range(2001)]).splitlines()
    assert [i for i, line in enumerate(lines) if line.strip() == "value"] == [0, 1002, 2004]
    assert len(lines) == 2001 + 3 + 2
    assert lines[-1] == "2,000"


def test_one_format_can_be_given_and_table_is_the_default() -> None:
    @click.command()
    @format_options
    def show(format: Format) -> None:
        print_rows(["n"], [[1]], format)

    invoke = CliRunner().invoke
    assert invoke(show, []).stdout == "n\n1\n"
    assert invoke(show, ["--ndjson", "--ndjson"]).stdout == '{"n": 1}\n'
    both = invoke(show, ["--csv", "--ndjson"])
    assert (both.exit_code, both.stdout) == (2, "")
    assert "are both given: choose one format" in both.stderr
    assert "--csv" in both.stderr
    assert "--ndjson" in both.stderr
    help_text = invoke(show, ["--help"]).stdout
    assert all(f"--{name} " in help_text for name in get_args(Format))


SCRIPT = """
import itertools, sys
from pipeline.console.print_rows import Share, print_rows
format, count, *texts = sys.argv[1:]
rows = ([f"{n}{''.join(texts)}", Share(0.389), n] for n in range(int(count)))
print_rows(["image", "score", "number of the image"], rows, format)
"""


def shell(line: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A line of bash in which $SHOW prints rows."""
    environment = os.environ | {"PYTHON": sys.executable, "SCRIPT": SCRIPT, "PYTHONPATH": str(ROOT)}
    line = line.replace("$SHOW", '"$PYTHON" -c "$SCRIPT"')
    return subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, env=environment | variables
    )


@pytest.mark.parametrize("count", [1, 100_000], ids=["one row", "more than a pipe holds"])
@pytest.mark.parametrize("format", ["table", "json", "csv"])
def test_a_reader_that_stops_early_ends_the_command_quietly(format: str, count: int) -> None:
    done = shell(f"$SHOW {format} {count} | true; echo ${{PIPESTATUS[0]}}")
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_a_full_disk_is_said_without_a_traceback() -> None:
    done = shell("$SHOW csv 1 > /dev/full")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "click.exceptions.ClickException: standard output cannot be written: "
        "No space left on device"  # a command shows the message of a ClickException alone
    )
    assert "BrokenPipe" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_bytes_of_a_name_that_are_not_utf8_and_other_encodings_break_nothing() -> None:
    name = "$'caf\\xe9-\\u00e9'"
    done = shell(f"$SHOW ndjson 1 {name}", PYTHONIOENCODING="ascii")
    assert json.loads(done.stdout)["image"] == "0caf\udce9-é"
    assert "\\udce9-é" in done.stdout
    done = shell(f"$SHOW csv 1 {name}", PYTHONIOENCODING="latin-1")
    assert done.stdout.splitlines()[1].startswith("0caf\\udce9-é")
    done = shell("$SHOW table 1 猫", PYTHONIOENCODING="ascii")
    assert done.stdout.splitlines()[1].startswith("0\\u732b")


def on_terminal(columns: int, *arguments: str, script: str = SCRIPT, **variables: str) -> list[str]:
    """The lines of a table on a terminal of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    mine = ("NO_COLOR", "COLUMNS", "LINES")
    environment = {key: value for key, value in os.environ.items() if key not in mine}
    environment |= {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **variables}
    command = [sys.executable, "-c", script, "table", "1", *arguments]
    done = subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    text = b""
    while True:
        try:
            text += os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
    os.close(ours)
    assert done.wait() == 0
    return text.decode().splitlines()


def test_a_terminal_shows_a_bold_header() -> None:
    header, row = on_terminal(120)
    assert "\x1b[1m" in header
    assert row.split() == ["0", "38.9%", "0"]


def test_a_dumb_terminal_has_no_escape_sequences() -> None:
    assert "\x1b" not in "".join(on_terminal(120, TERM="dumb"))


@pytest.mark.parametrize("columns", [120, 30])
def test_markup_and_escape_sequences_in_cells_are_only_text(columns: int) -> None:
    name = "[red]cat[/red]\x1b[31m"
    lines = on_terminal(columns, name, NO_COLOR="1", TERM="dumb")
    assert "0[red]cat[/red]\\x1b[31m" in "".join(lines).replace(" ", "")
    assert "\x1b" not in "".join(lines)


@pytest.mark.parametrize("columns", [120, 20])
def test_markup_in_the_name_of_a_column_is_only_text(columns: int) -> None:
    script = SCRIPT.replace('["image", ', '["[red]image", ')
    assert script != SCRIPT
    lines = on_terminal(columns, script=script, NO_COLOR="1", TERM="dumb")
    assert lines[0].startswith("[red]image ")


def test_a_narrow_terminal_folds_columns_and_a_very_narrow_one_lists_them() -> None:
    name = "/" + "x" * 90
    folded = on_terminal(80, name, NO_COLOR="1", TERM="dumb")
    assert max(map(len, folded)) <= 80
    assert "".join(line.split()[0] for line in folded[1:]) == "0" + name
    upright = on_terminal(30, name, NO_COLOR="1", TERM="dumb")
    assert [line.split("  ")[0] for line in upright if line[:1] not in ("", " ")] == [
        "image",
        "score",
        "number of the image",
    ]
    assert max(map(len, upright)) <= 30


def test_a_pipe_is_never_folded() -> None:
    done = shell(f"$SHOW table 1 {'x' * 400} | cat", COLUMNS="80", FORCE_COLOR="1")
    assert len(done.stdout.splitlines()) == 2
    assert "\x1b" not in done.stdout
