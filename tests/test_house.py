"""The size of the house: files, parameter lists and lines, as experiments/house.py counts them."""

import ast
import re
from pathlib import Path

import pytest

from experiments.house import COLUMNS, LINES, MANY_PARAMETERS, PARAMETERS, count

PACKAGE = Path(__file__).parent.parent / "zfjax"


@pytest.fixture(scope="module")
def house():
    return count(PACKAGE)


@pytest.fixture(scope="module")
def trees():
    return {path: ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}


def test_no_file_is_long(house):
    long = {name: lines for name, lines in house.files.items() if lines > LINES}
    assert not long, f"above {LINES} lines: {long}; give each idea a file of its own"


def test_few_functions_take_many_parameters(house):
    most, never = PARAMETERS
    assert not house.above(never), "let what belongs together travel as one frozen value"
    assert len(house.above(most)) <= MANY_PARAMETERS, house.above(most)


def test_no_line_is_wide(house):
    assert not house.wide, f"above {COLUMNS} columns: {house.wide}"


def test_no_lambda_has_a_name(house):
    assert not house.lambdas, f"write a def: {house.lambdas}"


def test_the_way_of_an_image_is_short_and_as_the_readme_says():
    readme = (PACKAGE.parent / "README.md").read_text(encoding="utf-8")
    block = readme.split("### The way of an image", 1)[1].split("```")[1]
    lines = [re.fullmatch(r"zfjax/(\S+\.py) +(\w+): \S.*", line) for line in block.split("\n")]
    stops = [(line[1], line[2]) for line in lines if line]
    assert len(stops) == len(block.strip().split("\n")), "a line is not 'file  name: what it does'"
    assert len({file for file, _ in stops}) == len(stops) <= 16
    for file, name in stops:
        tree = ast.parse((PACKAGE / file).read_text())
        named = {
            node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)
        }
        assert name in named, f"{file} has no {name}"


VAGUE = {"found", "given", "held", "some", "one", "part", "place", "room"}


def test_variables_say_what_they_are(trees):
    vague = []
    for path, tree in trees.items():
        for node in ast.walk(tree):
            name = node.arg if isinstance(node, ast.arg) else ""
            if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
                name = node.id if isinstance(node, ast.Name) else node.attr
            if name.strip("_") in VAGUE:
                vague.append(f"{path.relative_to(PACKAGE)}:{node.lineno} {name}")
    assert not vague, vague


def test_docstrings_of_several_lines_close_on_a_line_of_their_own(trees):
    open_ended = []
    for path, tree in trees.items():
        lines = path.read_text().split("\n")
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef):
                if (
                    ast.get_docstring(node) is None
                    or node.body[0].lineno == node.body[0].end_lineno
                ):
                    continue
                if lines[node.body[0].end_lineno - 1].strip() != '"""':
                    open_ended.append(f"{path.relative_to(PACKAGE)}:{node.body[0].end_lineno}")
    assert not open_ended, open_ended


def test_what_is_counted(tmp_path):
    (tmp_path / "room.py").write_text(
        "class A:\n"
        "    def own(self, a, *rest, b, **more): ...\n"
        "    @staticmethod\n"
        "    def apart(a, b): ...\n"
        "short = lambda x: x\n"
        f"wide = '{'x' * 100}'\n"
    )
    (tmp_path / "empty.py").write_text("")
    house = count(tmp_path)
    assert house.files == {"room.py": 6} and house.wide == ("room.py:6",)
    assert house.lambdas == ("room.py:5",)
    assert [(function.name, function.parameters) for function in house.above(0)] == [
        ("room.py:2 own", 4),
        ("room.py:4 apart", 2),
    ]
