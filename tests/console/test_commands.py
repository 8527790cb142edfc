"""All commands under one name, what they have in common, and their completion by a shell."""

import os
import subprocess
import sys
from collections.abc import Sequence

import click
import pytest
from click.testing import CliRunner

from pipeline import __version__, finish, run
from pipeline.__main__ import _COMMANDS, main
from pipeline.console.reading_command import ReadingCommand, reading_command
from tests.helpers.model_fixtures import ROOT, Command

READING = ("classify", "query", "describe")


def invoke(*options: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, list(options), prog_name="mobilenet-beam")
    assert "Traceback" not in result.output
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize("name", ["run", *READING])
def test_every_command_has_a_version_and_a_help_with_examples(name: str) -> None:
    assert invoke(name, "--version") == (0, f"mobilenet-beam, version {__version__}\n", "")
    code, out, err = invoke(name, "-h")
    assert (code, err) == (0, "")
    assert out.startswith(f"Usage: mobilenet-beam {name} [OPTIONS]")
    assert f"python -m pipeline.{name} " in out
    if name in READING:
        assert "\n  Examples:\n" in out
        assert "--ndjson " in out


def test_the_help_lists_the_commands_without_importing_them() -> None:
    code, out, err = invoke("--help")
    assert (code, err) == (0, "")
    assert all(f"\n  {name} " in out for name in ("run", *READING))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["querry"], "no such command: querry (did you mean 'query'?); there are run, classify, "),
        (["frobnicate"], "no such command: frobnicate; there are run, classify, "),
        (["--versoin"], "no such option: --versoin (did you mean '--version'?)"),
        (["run", "--inptu", "x"], "no such option: --inptu; did you mean --input?"),
        (["run", "--ouput", "x"], "no such option: --ouput; did you mean --output?"),
        (["run", "--temp-location=x"], "no such option: --temp-location; did you mean --temp_loc"),
        (["run", "--top-k", "many"], "invalid value for '--top-k': 'many' is not a valid integer."),
        (["classify", "x", "--jsn"], "no such option: --jsn (did you mean '--json'?)"),
        (["classify", "x", "--image_size", "1"], "--image_size (did you mean '--image-size'?)"),
        (["classify", "x", "--precison", "int8"], "--precison (did you mean '--precision'?)"),
        (["classify"], "missing argument 'IMAGE...'."),
        (["query", "x", "--min_score", "1"], "--min_score (did you mean '--min-score'?)"),
        (["query", "x", "--lable", "cat"], "--lable (did you mean '--label' or '--table'?)"),
        (["query", "x", "--markdwon"], "no such option: --markdwon (did you mean '--markdown'?)"),
        (["query", "x", "--json", "--csv"], "--json and --csv are both given: choose one format"),
        (["report", "out", "--output", "x"], "no such option: --output; --help lists the options"),
        (["finish", "out"], "missing argument 'RUN_ID'."),
        (["finish", "out", "r-1"], "'out' has no run 'r-1' that was submitted"),
        (["query", "a", "b", "c"], "got unexpected extra argument (c)"),
        (["query", "x", "--limit", "1.5"], "invalid value for '--limit': '1.5' is not a valid int"),
        (["describe", "--size"], "no such option: --size (did you mean '--sizes'?)"),
        (["describe", "--aplha", "1"], "no such option: --aplha (did you mean '--alpha'?)"),
        (["describe", "-x"], "no such option: -x"),
        (["describe", "--model"], "option '--model' requires an argument."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_option_is_exit_code_2_with_the_nearest_one(
    options: Sequence[str], message: str
) -> None:
    code, out, err = invoke(*options)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert message in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (run.main, "invalid value for '--top-k': 'many' is not a valid integer."),
        (finish.main, "no such option: --top-k; --help lists the options"),
    ],
)
def test_what_runs_says_it_as_shortly_by_itself_as_under_one_name(
    command: click.Command, message: str
) -> None:
    result = CliRunner().invoke(command, ["--top-k", "many"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"error: {message}\n"


def test_a_failure_to_print_and_ctrl_c_are_no_tracebacks() -> None:
    @reading_command("Examples:")
    @click.argument("what")
    def command(what: str, format: str) -> None:
        """Fails."""
        raise {"disk": click.ClickException("The disk is full"), "key": KeyboardInterrupt()}[what]

    assert isinstance(command, ReadingCommand)
    result = CliRunner().invoke(command, ["disk"])
    assert (result.exit_code, result.output) == (1, "error: the disk is full\n")
    result = CliRunner().invoke(command, ["key"])
    assert (result.exit_code, result.output.strip()) == (130, "")


def test_the_garbage_collector_leaves_beams_modules_alone_and_goes_on(run: Command) -> None:
    script = (
        "import gc\n"
        "from pipeline.console.command import importing_beam\n"
        "with importing_beam():\n"
        "    print(gc.isenabled())\n"
        "    import apache_beam\n"
        "frozen = gc.get_freeze_count()\n"
        "print(gc.isenabled(), frozen > 100_000)\n"
        "with importing_beam():\n"
        "    print(gc.isenabled())\n"
        "print(gc.get_freeze_count() == frozen)\n"
    )
    assert run("-c", script, module="").out == "False\nTrue True\nTrue\nTrue\n"


def completed(line: str) -> list[str]:
    """What a shell is told for a command line that ends at the cursor."""
    words = line.split(" ")
    environment = os.environ | {
        "_MOBILENET_BEAM_COMPLETE": "bash_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-m", "pipeline"],
        capture_output=True,
        text=True,
        env=environment,
        cwd=ROOT,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_a_shell_completes_commands_options_values_and_files() -> None:
    assert completed("mobilenet-beam cl") == ["plain,classify"]
    assert completed("mobilenet-beam query --fa") == ["plain,--failed"]
    assert completed("mobilenet-beam run --resize ") == [
        "plain,crop",
        "plain,squash",
        "plain,keras",
    ]
    assert completed("mobilenet-beam classify pho") == ["file,pho"]
    assert completed("mobilenet-beam describe --model mi") == ["file,mi"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_is_for_the_installed_name(shell: str) -> None:
    environment = os.environ | {"_MOBILENET_BEAM_COMPLETE": f"{shell}_source"}
    done = subprocess.run(
        [sys.executable, "-m", "pipeline"],
        capture_output=True,
        text=True,
        env=environment,
        cwd=ROOT,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "_MOBILENET_BEAM_COMPLETE" in done.stdout
    assert 'mobilenet-beam = "pipeline.__main__:main"' in (ROOT / "pyproject.toml").read_text()


def test_every_listed_command_is_there() -> None:
    names = main.list_commands(click.Context(main))
    assert {"run", "finish", "demo", *READING} <= set(names) <= set(_COMMANDS)
    assert all(callable(main.get_command(click.Context(main), name)) for name in names)
