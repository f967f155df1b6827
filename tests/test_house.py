"""The size of the house: files, parameter lists and lines, as experiments/house.py counts them."""

from pathlib import Path

import pytest

from experiments.house import COLUMNS, LINES, MANY_PARAMETERS, PARAMETERS, count

PACKAGE = Path(__file__).parent.parent / "zfjax"


@pytest.fixture(scope="module")
def house():
    return count(PACKAGE)


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
