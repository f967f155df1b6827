"""Options of measures: from flags and words to values, or a sentence; one thread of BLAS."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from zfjax.errors import ZfjaxError
from zfjax.measures import blas
from zfjax.measures.choosing import BUILT_IN, find_measure, read_flags, with_options, words_of
from zfjax.measures.protocol import Measure, Told, plain_table, shown


@dataclass(frozen=True)
class Options:
    count: int = 3
    share: float = 0.5
    whole: bool = False
    path: Path | None = None
    layers: tuple[str, ...] = ()
    sizes: tuple[int, ...] = (1, 2)
    kind: Literal["warm", "cold"] = "warm"
    pair: tuple[int, str] = (1, "a")
    few_words: str = "a"


MINE = Measure("mine", lambda *seen: [], lambda *seen: Told(""), options=Options())


@pytest.mark.parametrize(
    "texts, expected",
    [
        ({"count": "7"}, Options(count=7)),
        ({"share": "1e-3"}, Options(share=1e-3)),
        ({"whole": "true"}, Options(whole=True)),
        ({"path": "a/b c.png"}, Options(path=Path("a/b c.png"))),
        ({"path": "none"}, Options()),
        ({"layers": "conv1,conv2"}, Options(layers=("conv1", "conv2"))),
        ({"sizes": "4,5"}, Options(sizes=(4, 5))),
        ({"kind": "cold"}, Options(kind="cold")),
        ({"count": 9, "few_words": "b c"}, Options(count=9, few_words="b c")),
        ({"count": np.int64(7), "share": np.float32(0.5)}, Options(count=7, share=0.5)),
        ({"share": 1, "whole": np.bool_(True)}, Options(share=1.0, whole=True)),
        (
            {"layers": ["conv1"], "sizes": np.array([4, 5])},
            Options(layers=("conv1",), sizes=(4, 5)),
        ),
        ({"path": Path("a"), "kind": "cold"}, Options(path=Path("a"), kind="cold")),
        ({"path": None, "sizes": 4}, Options(sizes=(4,))),
        ({"pair": (2, "b")}, Options(pair=(2, "b"))),
        ({"pair": "2,b"}, Options(pair=(2, "b"))),
    ],
)
def test_words_become_values_of_their_fields(texts, expected):
    assert with_options(MINE, texts) == expected


@pytest.mark.parametrize(
    "texts, says",
    [
        ({"count": "1.5"}, "--mine.count '1.5': expected a whole number"),
        ({"pair": (1,)}, "--mine.pair takes 2 values, and 1 are given"),
        ({"pair": "1,2,3"}, "--mine.pair takes 2 values, and 3 are given"),
        ({"share": "half"}, "--mine.share 'half': expected a number"),
        ({"whole": "yes"}, "--mine.whole 'yes': expected true or false"),
        ({"sizes": "4,x"}, "--mine.sizes '4,x'|--mine.sizes 'x': expected a whole number"),
        ({"kind": "hot"}, "--mine.kind 'hot': it is warm or cold"),
        ({"share": "nan"}, "--mine.share nan: expected a number that is finite"),
        ({"share": np.inf}, "--mine.share inf: expected a number that is finite"),
        ({"count": 1.5}, "--mine.count = 1.5 must be a whole number"),
        ({"count": True}, "--mine.count = True must be a whole number"),
        ({"share": [1]}, "--mine.share"),
        ({"whole": 1}, "--mine.whole = 1 must be True or False"),
        ({"path": 5}, "--mine.path = 5 must be a path"),
        ({"kind": 5}, "--mine.kind 5: it is warm or cold"),
        ({"sizes": [1.5]}, "--mine.sizes"),
        ({"few_words": None}, "--mine.few-words"),
        ({"size": "1"}, "no such option; it has --mine.count, .*--mine.few-words"),
    ],
)
def test_what_is_no_value_is_said(texts, says):
    with pytest.raises(ZfjaxError, match=says):
        with_options(MINE, texts)


@pytest.mark.parametrize(
    "name, option, text",
    [
        ("settling", "groups", "1"),
        ("settling", "seed", "-1"),
        ("labels", "top", "1"),
        ("labels", "permutations", "0"),
        ("labels", "seed", "-3"),
        ("labels", "rate", "1"),
        ("labels", "rate", "nan"),
        ("census", "almost", "-0.1"),
        ("census", "duplicate", "1.5"),
        ("census", "aliased", "nan"),
        ("census", "dominant", "inf"),
    ],
)
def test_what_is_out_of_range_is_refused_before_anything_runs(name, option, text):
    with pytest.raises(
        ZfjaxError, match=f"^--{name}.{option} {text}.*( must |a number that is finite)"
    ):
        with_options(find_measure(name), {option: text})


@dataclass(frozen=True)
class Checked:
    """Options that check themselves in a way of their own."""

    above: int = 1

    def __post_init__(self) -> None:
        if self.above < 0:
            raise ValueError("above is 0 or more")


def test_what_the_options_of_anybody_refuse_is_said():
    checked = dataclasses.replace(MINE, options=Checked())
    with pytest.raises(ZfjaxError, match="mine does not take these options: above is 0 or more"):
        with_options(checked, {"above": "-1"})


@pytest.mark.parametrize(
    "word, value, says",
    [
        ("needs", "labels", "needs is a tuple of 'images', .*; needs='labels' is not"),
        ("needs", ("pictures",), r"needs=\('pictures',\) is not"),
        ("probe", "maxima", "reads of the probe is a tuple of 'maxima', 'means'; probe='maxima'"),
        ("probe", ("medians",), "medians"),
        ("reads", "census", "is a tuple of measures' names; reads='census' is not"),
        ("options", {"above": 1}, "of a frozen dataclass with defaults, not {'above': 1}"),
        ("options", Checked, "are an instance of a frozen dataclass"),
    ],
)
def test_what_no_measure_is_made_of(word, value, says):
    with pytest.raises(ZfjaxError, match=says):
        dataclasses.replace(MINE, **{word: value})


def test_flags_belong_to_the_measure_that_they_name():
    flags = ["--mine.count", "3", "--mine.few-words=x y"]
    assert read_flags([MINE], flags) == {"mine": {"count": "3", "few_words": "x y"}}
    for wrong, says in (
        (["--mine.count"], "--mine.count needs a value"),
        (["--mine.count", "--mine.share"], "--mine.count needs a value"),
        (["--others.count", "3"], "'others' is not a measure of this; those asked for are mine"),
        (["--count", "3"], "Not understood: --count"),
    ):
        with pytest.raises(ZfjaxError, match=says):
            read_flags([MINE], wrong)


@pytest.mark.parametrize("name", BUILT_IN)
def test_each_of_ours_says_what_it_is_and_what_can_mislead(name):
    words = words_of(find_measure(name))
    assert find_measure(name).name == name
    for part in ("Concept:", "Source:", "Cost:", "What can mislead:"):
        assert part in words, part


def test_a_table_is_straight_and_says_what_is_undefined():
    lines = plain_table(["layer", "x"], [["conv1", shown(1.234)], ["c", shown(float("nan"))]])
    assert lines == ("layer     x", "conv1  1.23", "c         -")


def test_blas_has_one_thread_within_and_as_many_as_before_after():
    before = [blas.get_threads(library) for library in blas._libraries()]
    with blas.one_blas_thread():
        assert {blas.get_threads(library) for library in blas._libraries()} <= {1}
    assert [blas.get_threads(library) for library in blas._libraries()] == before
