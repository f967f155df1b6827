"""Names at the ends of lines: none over another, all of them told apart without colour."""

import re
from itertools import pairwise

import numpy as np
import pytest
from scipy.optimize import minimize

from tests.reported import Page
from zfjax.report.kit.charts import PAGE, Chart, Line, ordered_lines, page_charts
from zfjax.report.kit.ends import GAP, LONGEST, STYLES, most_names, shortened, spread

HOSTILE = '</text><b>"&$x^2$'


def test_places_are_apart_within_and_as_near_as_can_be():
    generator = np.random.default_rng(0)
    for count in (1, 2, 3, 6):
        for _ in range(5):
            wanted = np.sort(generator.uniform(0, 1, count).round(1))
            gap = float(generator.uniform(0, 0.9 / count))
            places = spread(wanted.tolist(), gap, 0.0, 1.0)
            assert min(places) >= -1e-9 and max(places) <= 1 + 1e-9
            assert all(later - earlier >= gap - 1e-9 for earlier, later in pairwise(places))
            apart = [
                {"type": "ineq", "fun": lambda x, i=i, gap=gap: x[i + 1] - x[i] - gap}
                for i in range(count - 1)
            ]
            best = minimize(
                lambda x, wanted=wanted: ((x - wanted) ** 2).sum(),
                np.linspace(0, 1, count),
                bounds=[(0, 1)] * count,
                constraints=apart,
                method="SLSQP",
            )
            assert ((np.array(places) - wanted) ** 2).sum() <= best.fun + 1e-6


def test_places_that_are_apart_stay_and_too_many_are_refused():
    assert spread([0.1, 0.5, 0.9], 0.2, 0.0, 1.0) == pytest.approx([0.1, 0.5, 0.9])
    assert spread([1.0] * 3, 0.5, 0.0, 1.0) == pytest.approx([0.0, 0.5, 1.0])
    assert spread([], 0.5, 0.0, 1.0) == []
    with pytest.raises(ValueError, match="3 places 0.6 apart"):
        spread([0, 0, 0], 0.6, 0.0, 1.0)


def test_long_names_keep_both_ends():
    assert shortened("conv1") == "conv1" and shortened("a\nb") == "a b"
    first, second = (shortened(f"features.stage{i}.block.conv") for i in (1, 2))
    assert len(first) == LONGEST and first == "features…lock.conv"
    assert first == second, "what differs in the middle alone is not told"


def named(html):
    """(y, text) of the names beside the field."""
    texts = re.findall(r'<text [^>]*?x="([\d.]+)" y="([\d.]+)"[^>]*>([^<]*)</text>', html)
    return [(float(y), text) for x, y, text in texts if float(x) > 200 and not text.isdigit()]


def test_lines_that_end_alike_have_names_apart_and_styles_of_their_own():
    shares = {f"conv{index}": [(0, 0), (8, 100 - 15 * index), (16, 100)] for index in range(1, 6)}
    html = page_charts([Chart("Share, %", ordered_lines(shares), 100.0)], "c").html
    Page(str(html))
    flat = {name: [(0, 0), (16, 0)] for name in shares}
    equal = sorted(named(page_charts([Chart("Dead, %", ordered_lines(flat))], "d").html))
    assert [text for _, text in equal] == list(shares), "equal ones from above too"
    names = sorted(named(html))
    assert [text for _, text in names] == list(shares), "from above, as they lie before"
    gaps = [later - earlier for (earlier, _), (later, _) in pairwise(names)]
    assert min(gaps) >= 0.99 * GAP * PAGE.text_size
    assert 'class="key"' not in html, "each is named already"
    dashes = re.findall(r'<path d="M[^"]*L[^"]*"([^>]*stroke-width="1.8"[^>]*)/>', html)
    styles = [(re.search('stroke-dasharray="([^"]+)"', each) or [None])[0] for each in dashes]
    assert len(styles) == 10, "the lines, and a sample of each beside its name"
    assert sorted(styles[:5], key=str) == sorted(styles[5:], key=str)
    assert len(set(styles)) == len(STYLES) == 5


def test_as_many_are_named_as_there_is_room_for_and_the_key_says_the_rest():
    layers = {f"layer{index}": [(0, 1), (1, 2)] for index in range(40)}
    html = page_charts([Chart("x", ordered_lines(layers))], "k").html
    names = [text for _, text in named(html)]
    assert len(names) == most_names(150, PAGE.text_size) < 40
    assert "layer0" in names and "layer39" in names and len(set(names)) == len(names)
    entries = re.findall(r'<span class="(ramp[0-9])">([^<]*)</span>', html)
    assert [role for role, _ in entries] == [f"ramp{index}" for index in range(5)]


def test_names_from_data_are_texts_and_lines_without_order_keep_their_key():
    lines = ordered_lines({HOSTILE: [(0, 1), (2, 3)], "b": [(0, 0), (1, 0.5)], "none": []})
    html = str(page_charts([Chart("x", lines)], "c").html)
    Page(html)
    assert "<b>" not in html and len(named(html)) == 2, "one that has no points has no end"
    pair = (Line("train", "quiet", ((0, 1), (1, 2))), Line("val", "main", ((0, 1), (1, 2))))
    html = page_charts([Chart("x", pair)], "c").html
    assert named(html) == [] and '<span class="quiet">train</span>' in html
    alone = page_charts([Chart("x", ordered_lines({"conv1": [(0, 1), (1, 2)]}))], "c").html
    assert named(alone) == []
