"""Counts what the house is held to: files and their lengths, long parameter lists, long lines.

Command: ``python experiments/house.py [FOLDER ...]`` (default: zfjax; another checkout's package
for the figures before), a second on any machine. Result before issue 11 (main at 979131a): 71
files, 12,074 lines, median 154, longest 425; 33 functions above 6 parameters, 13 above 8; 1,337
lines above 100 columns, 33 named lambdas.

A function's parameters are all that a caller may give: ``*args`` and ``**kwargs`` count one each, a
method's ``self`` or ``cls`` none. Files that hold nothing are left out.
"""

from __future__ import annotations

import argparse
import ast
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

COLUMNS = 100
LINES = 350
PARAMETERS = (6, 8)
"""What most functions keep to, and what none may pass."""
MANY_PARAMETERS = 8
"""Functions that may have more than the first."""


@dataclass(frozen=True)
class Function:
    """One ``def``: where it stands, its parameters and its lines."""

    name: str
    parameters: int
    lines: int


@dataclass(frozen=True)
class House:
    """What is counted of one folder of Python files."""

    files: dict[str, int]
    """Lines of each."""
    functions: tuple[Function, ...]
    wide: tuple[str, ...]
    """Lines above COLUMNS, as file:line."""
    lambdas: tuple[str, ...]
    """Lambdas bound to a name, as file:line."""

    def above(self, parameters: int) -> list[Function]:
        """Functions with more parameters, the longest lists first."""
        long = [function for function in self.functions if function.parameters > parameters]
        return sorted(long, key=lambda function: (-function.parameters, function.name))


def count(folder: Path) -> House:
    """Reads every Python file below ``folder``."""
    files, functions, wide, lambdas = {}, [], [], []
    for path in sorted(folder.rglob("*.py")):
        name, text = path.relative_to(folder).as_posix(), path.read_text(encoding="utf-8")
        lines = text.splitlines()
        if not lines:
            continue
        files[name] = len(lines)
        wide += [f"{name}:{row}" for row, line in enumerate(lines, 1) if len(line) > COLUMNS]
        tree = ast.parse(text)
        functions += _functions(name, tree)
        lambdas += [
            f"{name}:{node.lineno}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Lambda)
        ]
    return House(files, tuple(functions), tuple(wide), tuple(lambdas))


def _functions(name: str, tree: ast.AST) -> Iterator[Function]:
    methods = {
        id(node)
        for holder in ast.walk(tree)
        if isinstance(holder, ast.ClassDef)
        for node in holder.body
        if isinstance(node, ast.FunctionDef)
        and not any(getattr(mark, "id", "") == "staticmethod" for mark in node.decorator_list)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            taken = node.args
            named = len(taken.posonlyargs) + len(taken.args) + len(taken.kwonlyargs)
            rest = (taken.vararg is not None) + (taken.kwarg is not None)
            own = named + rest - (id(node) in methods)
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            yield Function(f"{name}:{node.lineno} {node.name}", own, lines)


def report(house: House) -> list[str]:
    """The counts in lines of text."""
    longest = max(house.files, key=lambda name: house.files[name])
    long_function = max(house.functions, key=lambda function: function.lines)
    lines = [
        f"files {len(house.files)}, lines {sum(house.files.values()):,},"
        f" median {statistics.median(house.files.values()):g},"
        f" longest {house.files[longest]} ({longest}),"
        f" above {LINES}: {sum(length > LINES for length in house.files.values())}",
        f"functions {len(house.functions)}, longest {long_function.lines} lines"
        f" ({long_function.name})",
        f"lines above {COLUMNS} columns {len(house.wide)}, named lambdas {len(house.lambdas)}",
    ]
    for most in PARAMETERS:
        long = house.above(most)
        lines.append(f"functions above {most} parameters: {len(long)}")
        lines += [f"  {function.parameters}  {function.name}" for function in long]
    return lines


def main() -> None:
    """Prints the counts of each folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    here = Path(__file__).parent.parent / "zfjax"
    parser.add_argument("folders", nargs="*", type=Path, default=[here])
    for folder in parser.parse_args().folders:
        print(f"{folder.name}:" if folder != here else "zfjax:")
        print("\n".join(report(count(folder))))


if __name__ == "__main__":
    main()
