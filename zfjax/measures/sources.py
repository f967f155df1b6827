"""The code of anybody's measure: which files it is, and whether they are what they were. No JAX."""

from __future__ import annotations

import ast
import functools
import hashlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from zfjax.measures.protocol import Measure

OURS = "zfjax"


def sources_of(measure: Measure) -> dict[str, str]:
    """The SHA-256 of each file that a measure is made of, by its module's name: the modules of its
    functions and options, and what these import from the same folder or package. Empty for our own
    measures, and for one that was defined where there is no file.
    """
    digests: dict[str, str] = {}
    for piece in (measure.rows, measure.tell, measure.keeps, type(measure.options)):
        code: Any = piece
        while isinstance(code, functools.partial):
            code = code.func
        name = getattr(code, "__module__", None) or type(code).__module__
        path = _source_of(name)
        if path is not None:
            package = name if path.name == "__init__.py" else name.rpartition(".")[0]
            home = path.parents[len(package.split(".")) if package else 0]
            _add_with_imports(name, path, home, digests)
    return dict(sorted(digests.items()))


def is_ours(measure: Measure) -> bool:
    """Whether it is one of zfjax's own."""
    code: Any = measure.rows
    while isinstance(code, functools.partial):
        code = code.func
    return str(getattr(code, "__module__", "")).partition(".")[0] == OURS


def changed_sources(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The modules that are other than they were; none where nothing was noted before."""
    if not before:
        return []
    return [name for name in {**before, **now} if before.get(name) != now.get(name)]


def _source_of(name: str) -> Path | None:
    """The file of a module that is loaded, where it is somebody's own, not an installed one."""
    file = getattr(sys.modules.get(name), "__file__", None)
    if file is None or name.partition(".")[0] == OURS or "site-packages" in Path(file).parts:
        return None
    return Path(file).resolve()


def _add_with_imports(name: str, path: Path, home: Path, digests: dict[str, str]) -> None:
    """Adds a file, and those that it imports below ``home``, the folder it is imported from."""
    waiting = [(name, path)]
    while waiting:
        name, path = waiting.pop()
        if name in digests:
            continue
        try:
            source = path.read_bytes()
        except OSError:
            continue
        digests[name] = hashlib.sha256(source).hexdigest()
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for imported in _imports(source, package):
            there = home.joinpath(*imported.split("."))
            files = (there / "__init__.py", there.with_name(f"{there.name}.py"))
            waiting += [(imported, file) for file in files if file.is_file()]


def _imports(source: bytes, package: str) -> Iterator[str]:
    """The names of what a module of ``package`` may import, packages above them too."""
    try:
        tree: Any = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = [*(above if node.level else ()), *([node.module] if node.module else ())]
            names = [".".join([*base, alias.name]) for alias in node.names]
        else:
            continue
        for name in names:
            words = name.split(".")
            if words[0] != OURS:
                yield from (".".join(words[:count]) for count in range(1, len(words) + 1))
