"""The mistakes that a careless maintainer makes, one at a time, in the syntax tree of a module."""

import ast
import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, NamedTuple

_PAIRS: Final = (
    *((ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.Eq, ast.NotEq), (ast.Is, ast.IsNot)),
    *((ast.In, ast.NotIn), (ast.And, ast.Or), (ast.Add, ast.Sub), (ast.Mult, ast.FloorDiv)),
    *((ast.USub, ast.UAdd), (ast.Mult, ast.Div), (ast.FloorDiv, ast.Mod)),
)
_TURNED: Final[dict[type[ast.AST], Any]] = {a: b for pair in _PAIRS for a, b in (pair, pair[::-1])}
Change = Callable[[], object]


class Mutant(NamedTuple):
    """A module with one mistake; `what` says which."""

    line: int
    what: str
    tree: ast.Module


def mutants(source: str) -> list[Mutant]:
    """Every mutant of a module.

    An operator or a condition is turned, a number or a truth changed, or a call, a `raise` or a
    keyword dropped. Strings, most of them messages, stay as they are, and so do annotations.
    """
    tree = ast.parse(source)
    return [_mutant(tree, number) for number in range(len(list(_changes(tree))))]


def _mutant(tree: ast.Module, number: int) -> Mutant:
    tree = copy.deepcopy(tree)
    statement, change = list(_changes(tree))[number]
    before = _header(statement)
    change()
    after = _header(statement)
    what = f"{before}  ->  {after if after != before else 'pass'}"
    return Mutant(statement.lineno, what, tree)


def _header(statement: ast.stmt) -> str:
    return ast.unparse(statement).splitlines()[0]


def _changes(tree: ast.Module) -> Iterator[tuple[ast.stmt, Change]]:
    for parent in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            found = getattr(parent, name, None)
            body: list[ast.stmt] = found if isinstance(found, list) else []
            for place, statement in enumerate(body):
                yield from ((statement, change) for change in _of_statement(body, place))


def _of_statement(body: list[ast.stmt], place: int) -> Iterator[Change]:
    statement = body[place]
    is_call = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
    if is_call or isinstance(statement, ast.Raise):
        yield lambda: body.__setitem__(place, ast.copy_location(ast.Pass(), statement))
    for expression in _expressions(statement):
        for node in ast.walk(expression):
            yield from _of_expression(node)
    if isinstance(statement, (ast.If, ast.While)):
        yield lambda: _negate(statement)


def _expressions(statement: ast.stmt) -> list[ast.AST]:
    """What a statement computes itself; nothing of the statements within, nor of types."""
    if isinstance(statement, ast.FunctionDef):
        arguments = statement.args
        return [each for each in (*arguments.defaults, *arguments.kw_defaults) if each is not None]
    if isinstance(statement, (ast.ClassDef, ast.Import, ast.ImportFrom)):
        return []
    if isinstance(statement, ast.AnnAssign):
        return [statement.value] if statement.value is not None else []
    parts = ast.iter_child_nodes(statement)
    return [part for part in parts if isinstance(part, (ast.expr, ast.withitem))]


def _of_expression(node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.Compare) and type(node.ops[0]) in _TURNED:
        yield lambda: node.ops.__setitem__(0, _TURNED[type(node.ops[0])]())
    elif isinstance(node, (ast.BinOp, ast.BoolOp, ast.UnaryOp)) and type(node.op) in _TURNED:
        yield lambda: setattr(node, "op", _TURNED[type(node.op)]())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield lambda: setattr(node, "operand", _not(node.operand))
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield lambda: setattr(node, "value", not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        greater = node.value + 1
        yield lambda: setattr(node, "value", greater)
    elif isinstance(node, ast.IfExp):
        yield lambda: _negate(node)
    elif isinstance(node, ast.comprehension) and node.ifs:
        yield node.ifs.clear
    elif isinstance(node, ast.Call):
        for keyword in node.keywords:
            yield partial(node.keywords.remove, keyword)


def _negate(node: ast.If | ast.While | ast.IfExp) -> None:
    node.test = _not(node.test)


def _not(operand: ast.expr) -> ast.expr:
    return ast.copy_location(ast.UnaryOp(ast.Not(), operand), operand)
