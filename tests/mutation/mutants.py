"""Single changes of source files: the operators of mutmut, dropped statements, `return None`, negated conditions.

Docstrings, annotations, sentences, messages and ``strict=True`` stay. Decorators, defaults, class attributes and
constants of modules change, unlike in mutmut, because the registered functions of this package all have decorators.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import libcst as cst
import libcst.matchers as m
from libcst.metadata import MetadataWrapper, PositionProvider

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from mutmut.mutation.mutators import mutation_operators

STRICT = m.Arg(keyword=m.Name("strict"))
TEXT = m.Annotation() | m.Import() | m.ImportFrom() | m.Raise() | STRICT | m.Call(func=m.Attribute(attr=m.Name("warn")))
NO_EFFECT = {"strict", "device", "inplace"}
"""Arguments that change no result on a CPU: a check of lengths, a place, a buffer."""
DOCSTRING = m.Expr(m.SimpleString() | m.ConcatenatedString() | m.Ellipsis())


@dataclass(frozen=True)
class Mutant:
    """One change. `name` does not depend on lines; `lines` are those of the statement, up to the change."""

    path: str
    name: str
    scope: tuple[int, int]  # lines of the innermost function or class, or of the file
    lines: tuple[int, int]
    tree: cst.Module
    change: tuple[cst.CSTNode, cst.CSTNode]

    @property
    def source(self) -> str:
        """The file after the change."""
        return self.tree.deep_replace(*self.change).code


def mutants(root: Path, path: str) -> Iterator[Mutant]:
    """All changes of the file ``root / path``."""
    wrapper = MetadataWrapper(cst.parse_module((root / path).read_text()), unsafe_skip_copy=True)
    visitor = _Visitor(wrapper.module, wrapper.resolve(PositionProvider))
    wrapper.module.visit(visitor)
    names: Counter[str] = Counter()
    for scope, area, lines, old, new in visitor.found:
        name = f"{path} {scope}: {_code(old)} -> {_code(new)}"
        names[name] += 1
        yield Mutant(path, f"{name} #{names[name]}", area, lines, wrapper.module, (old, new))


class _Visitor(cst.CSTVisitor):
    def __init__(self, module: cst.Module, positions: Any) -> None:
        self.positions = positions
        self.scopes: list[tuple[str, tuple[int, int]]] = [("", (1, len(module.code.splitlines())))]
        self.statements: list[int] = []
        self.found: list[tuple[str, tuple[int, int], tuple[int, int], cst.CSTNode, cst.CSTNode]] = []

    def on_visit(self, node: cst.CSTNode) -> bool:
        if isinstance(node, cst.FunctionDef | cst.ClassDef):
            scope, _ = self.scopes[-1]
            self.scopes.append((f"{scope}.{node.name.value}".lstrip("."), self._lines(node)))
        if isinstance(node, cst.BaseStatement):
            self.statements.append(self._lines(node)[0])
        if m.matches(node, DOCSTRING) or _names_a_type(node):
            return False
        for new in _changes(node):
            last = self._lines(node.test if isinstance(node, cst.If) else node)[1]
            lines = (self.statements[-1], last)
            self.found.append((*self.scopes[-1], lines, node, new))
        return not m.matches(node, TEXT)

    def on_leave(self, node: cst.CSTNode) -> None:
        if isinstance(node, cst.FunctionDef | cst.ClassDef):
            self.scopes.pop()
        if isinstance(node, cst.BaseStatement):
            self.statements.pop()

    def _lines(self, node: cst.CSTNode) -> tuple[int, int]:
        position = self.positions.get(node)
        return (position.start.line, position.end.line) if position else (self.statements[-1],) * 2


def _changes(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    if m.matches(node, m.Annotation() | m.Import() | m.ImportFrom()):
        return
    if isinstance(node, cst.Expr | cst.Raise):
        yield cst.Pass()
    elif isinstance(node, cst.Return) and node.value and not m.matches(node.value, m.Name("None")):
        yield node.with_changes(value=cst.Name("None"), whitespace_after_return=cst.SimpleWhitespace(" "))
    elif isinstance(node, cst.If) and not m.matches(node.test, m.Comparison() | m.UnaryOperation(operator=m.Not())):
        test = node.test.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
        negated = cst.UnaryOperation(operator=cst.Not(), expression=test)
        yield node.with_changes(test=negated, whitespace_before_test=cst.SimpleWhitespace(" "))
    if m.matches(node, TEXT):
        return
    for kind, operator in mutation_operators:
        if isinstance(node, kind):
            for new in operator(node):
                if isinstance(node, cst.SimpleString):
                    if " " not in node.value and "\\" not in node.value:
                        yield new
                    break  # other spellings of the same string fail in the same way
                if not isinstance(new, cst.Call) or not isinstance(node, cst.Call) or _lacks_a_keyword(node, new):
                    yield new


def _lacks_a_keyword(call: cst.Call, new: cst.Call) -> bool:
    """Of the changes of arguments, those that leave a default in force. The others nearly all end in a TypeError."""
    names, left = ({arg.keyword.value for arg in c.args if arg.keyword} for c in (call, new))
    return len(new.args) < len(call.args) and names > left and not names - left <= NO_EFFECT


def _names_a_type(node: cst.CSTNode) -> bool:
    """``Floats = NDArray[np.floating]``: a name for annotations."""
    if not isinstance(node, cst.Assign) or not isinstance(target := node.targets[0].target, cst.Name):
        return False
    return target.value[0].isupper() and not target.value.isupper()


def _code(node: cst.CSTNode) -> str:
    if isinstance(node, cst.If):
        return f"if {_code(node.test)}"
    return " ".join(cst.Module([]).code_for_node(node).split()).rstrip(",")
