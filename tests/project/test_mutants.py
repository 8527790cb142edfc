"""The mistakes that `make mutants` makes."""

import ast

from tests.mutants.__main__ import find_tests, modules
from tests.mutants.mutate import mutants

SOURCE = '''
"""A module."""
LIMIT: int = 3


def f(n: int, is_open: bool = True) -> str:
    """Says something."""
    if n < LIMIT and not is_open:
        note("few", retry=is_open)
        raise ValueError("closed")
    return "-".join(str(-n) for n in range(2 + n) if n)
'''
EXPECTED = """\
LIMIT: int = 3  ->  LIMIT: int = 4
def f(n: int, is_open: bool=True) -> str:  ->  def f(n: int, is_open: bool=False) -> str:
if n < LIMIT and (not is_open):  ->  if n < LIMIT or not is_open:
if n < LIMIT and (not is_open):  ->  if n <= LIMIT and (not is_open):
if n < LIMIT and (not is_open):  ->  if n < LIMIT and (not not is_open):
if n < LIMIT and (not is_open):  ->  if not (n < LIMIT and (not is_open)):
note('few', retry=is_open)  ->  note('few')
note('few', retry=is_open)  ->  pass
raise ValueError('closed')  ->  pass
return '-'.join((str(-n) for n in range(2 + n) if n))  ->  \
return '-'.join((str(+n) for n in range(2 + n) if n))
return '-'.join((str(-n) for n in range(2 + n) if n))  ->  \
return '-'.join((str(-n) for n in range(2 + n)))
return '-'.join((str(-n) for n in range(2 + n) if n))  ->  \
return '-'.join((str(-n) for n in range(2 - n) if n))
return '-'.join((str(-n) for n in range(2 + n) if n))  ->  \
return '-'.join((str(-n) for n in range(3 + n) if n))
"""


def test_each_mutant_has_one_mistake_and_says_which() -> None:
    found = mutants(SOURCE)
    assert sorted(mutant.what for mutant in found) == sorted(EXPECTED.splitlines())
    unchanged = ast.unparse(ast.parse(SOURCE)).splitlines()
    for mutant in found:
        lines = ast.unparse(mutant.tree).splitlines()
        changed = [(old, new) for old, new in zip(unchanged, lines, strict=True) if old != new]
        assert [(old.strip(), new.strip()) for old, new in changed] == [
            tuple(mutant.what.split("  ->  "))
        ]


def test_every_module_that_mistakes_are_made_in_has_tests() -> None:
    assert len(modules()) > 30
    assert [module for module in modules() if not find_tests(module)] == []
    assert find_tests("transforms/models/labels.py") == ["tests/models/test_labels.py"]
