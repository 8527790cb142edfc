"""Makes N mutants, runs the tests of each one's module, and lists those that no test noticed.

    python -m tests.mutants --number 60 --seed 0 [MODULE ...]

No file is touched: each mutant lives in a process forked from this one, in which its module is
compiled from the changed tree. So tests that run the command in a process of its own see nothing
of it; they are left out. mutmut and cosmic-ray write mutants to disk and start Python anew for each
of them, which takes Beam several seconds.
"""

import argparse
import ast
import contextlib
import importlib
import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import Final

import pytest

from tests.mutants.mutate import Mutant, mutants

# The steps, models and the account: where a mistake is a wrong row or a lost one.
FOLDERS: Final = ("transforms", "transforms/engines", "transforms/models")
FILES: Final = ("pipeline/graph.py", "pipeline/running/account.py")
# Slow to import, and never mutated.
_HEAVY: Final = ("apache_beam", "duckdb", "keras", "PIL.Image", "pyarrow.parquet")
_IN_OTHER_PROCESSES: Final = {"run", "cluster", "site", "on_cloud", "cpu_job"}
_FAILED: Final = (
    1  # pytest's exit codes: a test failed, nothing could be collected, or it was ended
)
_NOTICED: Final = {_FAILED, int(pytest.ExitCode.INTERRUPTED), -signal.SIGKILL}


class LeaveOut:
    """Leaves out slow tests and those of the command in another process."""

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        left_out = [item for item in items if not _can_notice(item)]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if _can_notice(item)]


def _can_notice(item: pytest.Item) -> bool:
    fixtures = item.fixturenames if isinstance(item, pytest.Function) else ()
    return not (item.get_closest_marker("slow") or _IN_OTHER_PROCESSES.intersection(fixtures))


class Loader(SourceFileLoader):
    """Loads a module as its mutant."""

    def __init__(self, name: str, path: str, tree: ast.Module) -> None:
        super().__init__(name, path)
        self._tree = tree

    def get_code(self, fullname: str) -> CodeType:
        return compile(ast.fix_missing_locations(self._tree), self.path, "exec")


class Finder(MetaPathFinder):
    """Finds this one module with its loader."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def find_spec(
        self, fullname: str, path: object, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        loader = self._loader
        if fullname != loader.name:
            return None
        return spec_from_file_location(fullname, loader.path, loader=loader)


def modules() -> list[str]:
    """The files to make mistakes in."""
    found = [path for folder in FOLDERS for path in sorted(Path(folder).glob("*.py"))]
    return [str(path) for path in found if path.name != "__init__.py"] + list(FILES)


def find_tests(module: str) -> list[str]:
    """The module's own tests, or where it has none, those of the folder that import it, or all."""
    name = module.removesuffix(".py").replace("/", ".")
    parent, _, last = name.rpartition(".")
    folder = Path("tests", *Path(module).parts[1:-1])
    files = sorted(folder.glob("test_*.py"))
    imports = f"from {name} import", f"from {parent} import {last}"
    own = [path for path in files if path.name == f"test_{last}.py"]
    found = own or [path for path in files if any(each in path.read_text() for each in imports)]
    return [str(path) for path in found or files]


def exit_code(module: str, tests: Sequence[str], mutant: Mutant | None, limit_s: float) -> int:
    """pytest's, of the tests in a fork of this process; that of the signal if it took too long."""
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            _run_tests(module, tests, mutant)
        os._exit(_FAILED)
    end = time.monotonic() + limit_s
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            os.killpg(child, signal.SIGKILL)
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        time.sleep(0.01)


def _run_tests(module: str, tests: Sequence[str], mutant: Mutant | None) -> None:
    os.setsid()
    with open(os.devnull, "r+") as null:
        for stream in range(3):
            os.dup2(null.fileno(), stream)
    if mutant is not None:
        name = module.removesuffix(".py").replace("/", ".")
        sys.meta_path.insert(0, Finder(Loader(name, module, mutant.tree)))
    os._exit(pytest.main([*tests, "-x", "-p", "no:cacheprovider"], plugins=[LeaveOut()]))


def _import_in_silence() -> None:
    """TensorFlow tells standard error of CUDA and oneDNN."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    for name in _HEAVY:
        importlib.import_module(name)
    os.dup2(kept, 2)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("--number", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("modules", nargs="*", default=modules())
    options = parser.parse_args()
    _import_in_silence()
    found = [(path, each) for path in options.modules for each in mutants(Path(path).read_text())]
    picked = random.Random(options.seed).sample(found, min(options.number, len(found)))
    limits: dict[str, float] = {}
    unnoticed = 0
    for module, mutant in sorted(picked, key=lambda pick: (pick[0], pick[1].line)):
        tests = find_tests(module)
        if module not in limits:
            started = time.monotonic()
            if code := exit_code(module, tests, None, 600):
                sys.exit(f"{module}: its tests fail as it is (pytest ended with {code})")
            limits[module] = 3 * (time.monotonic() - started) + 10
        if exit_code(module, tests, mutant, limits[module]) not in _NOTICED:
            unnoticed += 1
            print(f"{module}:{mutant.line}: {mutant.what}", flush=True)
    noticed = len(picked) - unnoticed
    print(f"{noticed} of {len(picked)} mutants noticed, {noticed / len(picked):.0%}")


if __name__ == "__main__":
    main()
