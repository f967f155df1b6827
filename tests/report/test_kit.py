"""The kit: a page of a stranger's own made of it, and each of its pieces on its own."""

import base64
import hashlib
import math
import re
from importlib.resources import files

import numpy as np
import pytest
from markupsafe import Markup
from matplotlib.figure import Figure

from tests.reported import Page
from zfjax.report.kit import charts, shell
from zfjax.report.kit.charts import Chart, Line, Panel, figure_files, ordered_lines, page_charts
from zfjax.report.kit.dots import Dot, DotRow, Scale, dot_axis, dot_cell, dot_chart, scale_of
from zfjax.report.kit.films import Film, whole_film
from zfjax.report.kit.shell import Piece, join_pieces, main_of, make_page, section
from zfjax.report.kit.slider import Choice, curve_slider
from zfjax.report.kit.style import ACCENT, INK, quiet_style
from zfjax.report.kit.tables import Column, Row, data_table
from zfjax.report.kit.vector import svg_of
from zfjax.report.kit.wording import epoch_names, rough_count
from zfjax.report.pictures import make_sheet

HOSTILE = '</script><script>alert(1)</script> $\\frac{1}$ "&'
EPOCHS = (0.0, 1.0, 2.0, 5.0)
ROWS = (
    DotRow("the base", (Dot(0.0), Dot(0.0)), mark=True),
    DotRow(HOSTILE, (Dot(-3.1, -4.4, -1.8), Dot(-1.1, -2.4, 0.3))),
    DotRow("lost", (Dot(None, why="diverged"), Dot(float("nan"), 1.0, 2.0))),
    DotRow("one seed", (Dot(1.2), Dot(0.8, -0.1, float("inf")))),
)


def own_page():
    """A page with a table, a dot chart, a film and a slider, as a coming page would write it."""
    sheet = make_sheet(np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8), None)
    film = Film("base", sheet, 0, (0, None, 2, 3), ("±1", "", "±2", "±3"))
    scale = scale_of((dot for row in ROWS for dot in row.dots), unit=" %", signed=True)
    curve = tuple((epoch, 0.1 * epoch) for epoch in EPOCHS)
    loss = Piece(
        Markup('<p id="loss-now"></p>'),
        {"loss": [3.0, 2.0, 1.0, 0.5]},
        script='draws.push(() => { byId("loss-now").textContent = number(data.loss[state.at]); });',
    )
    return make_page(
        f"Cells {HOSTILE}",
        [
            curve_slider(
                EPOCHS, [curve], choices=[Choice("cell", "Cell", (("a", "A"), ("b", "B")))]
            ),
            main_of(
                section("Accuracy", dot_chart(ROWS, scale, ("top-1", "top-5"), ("cell", "gain"))),
                section(
                    "Cells",
                    data_table(
                        (
                            *(Column("cell"), Column("what", words=True)),
                            Column(Piece(dot_axis(scale, numbers=False)), dots=True),
                        ),
                        [
                            Row(row.label, (None, dot_cell(scale, row.dots[:1], numbers=False)))
                            for row in ROWS
                        ],
                    ),
                ),
                section("Filters", whole_film(film, "Filters of the base"), HOSTILE),
                section(
                    "Loss", page_charts([Chart("Loss", (Line("a", "main", curve),))], "c"), loss
                ),
            ),
        ],
        facts=("3 seeds", HOSTILE),
    )


def test_a_page_of_ones_own():
    text = own_page()
    page = Page(text)
    assert len(page.held["script"]) == 2 and "alert(1)" not in "".join(page.held["script"])
    assert not any(name == "style" or name.startswith("on") for _, name, _ in page.attributes)
    assert text.count("<circle") == 2 + 6 + 3, "the key's, the chart's, the table's"
    assert page.data["loss"] == [3.0, 2.0, 1.0, 0.5] and page.data["names"] == ["0", "1", "2", "5"]
    assert page.data["films"]["base"]["frames"] == [0, None, 2, 3]
    words = " ".join(" ".join(page.words).split())
    assert words.count(HOSTILE) == 6, "title, heading, fact, two tables and a paragraph"
    for script_part in ("const draws", "function play", "loss-now", "recall();"):
        assert script_part in page.held["script"][1]
    digests = [
        base64.b64encode(hashlib.sha256(held.encode()).digest()).decode()
        for held in (page.held["script"][1], *page.held["style"])
    ]
    assert re.findall(r"'sha256-([^']+)'", page.policy) == digests
    assert page.policy.startswith("default-src 'none'; img-src data:;")


def test_every_part_is_put_into_the_page():
    parts = {entry.name for entry in files("zfjax.report").joinpath("kit/parts").iterdir()}
    styles, scripts = (*shell.STYLES, shell.LAST_STYLE), (*shell.SCRIPTS, shell.LAST_SCRIPT)
    assert parts == {*(f"{name}.css" for name in styles), *(f"{name}.js" for name in scripts)}


def test_pieces_share_what_they_may():
    joined = join_pieces(
        [
            Piece(Markup("<b>"), {"films": {"a": 1}}, "s1", "style;", "script;"),
            Piece(Markup("</b>"), {"films": {"b": 2}, "x": 0}, "s2", "style;", "script;"),
        ]
    )
    assert joined.html == "<b>\n</b>" and joined.data == {"films": {"a": 1, "b": 2}, "x": 0}
    assert (joined.sheets, joined.style, joined.script) == ("s1s2", "style;", "script;")
    with pytest.raises(ValueError, match="data of the name 'x'"):
        join_pieces([joined, Piece(Markup(), {"x": 1})])
    with pytest.raises(ValueError, match="'films' of one name"):
        join_pieces([joined, Piece(Markup(), {"films": {"b": 2}})])
    with pytest.raises(ValueError, match="data of the name 'word'"):
        make_page("two sliders", [curve_slider(EPOCHS, []), curve_slider(EPOCHS, [])])
    Page(make_page("hardly anything", [main_of()]))


def test_tables_refuse_ragged_rows():
    with pytest.raises(ValueError, match="has 1 cells, not 2"):
        data_table([Column("a"), Column("b"), Column("c")], [Row("x", ("1",))])
    with pytest.raises(ValueError, match="has 1 dots, not 2"):
        dot_chart([DotRow("x", (Dot(1.0),))], series=("a", "b"))


# ---- dots with bars


def lines_of(html):
    return re.findall(r'<line class="(\w+)" x1="([\d.]+)%" x2="([\d.]+)%"', html)


def test_single_values_are_rings_in_the_place_of_a_range_and_a_start_is_a_hollow_tick():
    scale, rings = Scale(0.0, 100.0, places=0), (20.0, 40.0, 90.0)
    ranged = Dot(50.0, 20.0, 90.0, bar="range of the seeds", rings=rings, before=10.0)
    html = dot_cell(scale, (ranged,)).html
    assert re.findall(r'class="ring" cx="([\d.]+)%"', html) == [
        str(scale.place(value)) for value in rings
    ]
    assert [kind for kind, *_ in lines_of(html) if kind == "main"] == [], (
        "no bar: it is no interval"
    )
    assert re.findall(r'<svg x="([\d.]+)%"', html) == [str(scale.place(10.0))]
    assert "range of the seeds from 20 to 90, single seeds 20, 40, 90, before training 10" in html
    # An interval stands beside its single values.
    kept = dot_cell(scale, (Dot(50.0, 20.0, 90.0, rings=rings),)).html
    assert [kind for kind, *_ in lines_of(kept)].count("main") == 3 and "before" not in kept
    wide = scale_of([Dot(1.0, rings=(-3.0, 4.0), before=9.0)])
    assert wide.low <= -3 and wide.high >= 9


def test_dots_lie_where_the_scale_puts_them():
    scale = Scale(-10.0, 10.0, unit=" %", signed=True)
    html = dot_cell(scale, (Dot(5.0, 0.0, 10.0), Dot(-5.0))).html
    kinds = lines_of(html)
    assert [float(place) for _, place, _ in kinds[:5]] == [3, 26.5, 50, 73.5, 97], "ticks"
    assert kinds[5] == ("base", "50.0", "50.0") and kinds[6] == ("main", "50.0", "97.0")
    assert kinds[7:] == [("main", "50.0", "50.0"), ("main", "97.0", "97.0")], "its ends"
    assert len(kinds) == 9, "no bar without an interval"
    assert re.findall(r'<circle class="([\w ]+)" cx="([\d.]+)%" cy="(\d+)"', html) == [
        ("main", "73.5", "10"),
        ("ink open", "26.5", "30"),
    ]
    assert scale.ticks == (-10, -5, 0, 5, 10)


def test_numbers_beside_dots_have_equal_decimals_where_a_scale_says_so():
    dots = (Dot(2.0, -0.3271, 10.004), Dot(-0.001))
    loose, even = Scale(-10.0, 20.0, signed=True), Scale(-10.0, 20.0, signed=True, places=2)
    told = [Page(str(dot_cell(scale, dots).html)).words for scale in (loose, even)]
    assert "+2 (−0.327 to +10)" in told[0] and "−0.001" in told[0]
    assert "+2.00 (−0.33 to +10.00)" in told[1] and "0.00" in told[1]
    assert dot_axis(loose) == dot_axis(even), "ticks stay round"


def test_what_lies_beyond_the_scale_is_cut_off():
    html = dot_cell(Scale(0.0, 1.0, None), (Dot(2.0, 0.5, 3.0), Dot(-9.0, -10.0, -8.0))).html
    bars = [line for line in lines_of(html) if line[0] != "ground"]
    ends = [("main", "50.0", "50.0")]  # an end that is cut off is not drawn as if it were one
    assert bars == [("main", "50.0", "100.0"), *ends, ("ink", "0.0", "0.0")]
    assert "<circle" not in html
    assert "2 (0.5 to 3)" in html and "−9 (−10 to −8)" in html, "the numbers say where"


def test_what_is_not_known_is_said():
    html = dot_chart(ROWS, series=("top-1", "top-5")).html
    assert '<span aria-hidden="true" class="missing">diverged</span>' in html
    assert '<span aria-hidden="true" class="missing">not known</span>' in html
    for sentence in (
        "top-1: diverged. ",
        "top-5: not known. ",
        "top-1: −3.1, interval from −4.4 to −1.8. ",
        "top-5: 0.8, interval not known. ",
    ):
        assert f'<span class="unseen">{sentence}</span>' in html, sentence
    assert "nan" not in html.lower().replace("nance", "") and "inf" not in html
    assert '<tr class="mark"><th scope="row">the base</th>' in html
    assert (
        '<span class="dotkey">' in html
        and "dotkey" not in dot_chart([DotRow("x", (Dot(1.0),))]).html
    )
    Page(str(dot_chart([]).html))


@pytest.mark.parametrize(
    "values, base, ends",
    [
        ((-3.1, 1.7), 0.0, (-4, 2)),
        ((62.0, 71.0), 65.0, (60, 72.5)),
        ((62.0, 71.0), 0.0, (0, 80)),
        ((0.0,), 0.0, (-0.5, 0.5)),
        ((), 0.0, None),
        ((float("nan"), float("inf")), None, None),
        ((1e-9, 3e-9), 2e-9, None),
    ],
)
def test_a_scale_holds_all_that_is_known(values, base, ends):
    scale = scale_of([Dot(value, value, value) for value in values], base)
    known = [value for value in (*values, base) if value is not None and math.isfinite(value)]
    assert scale.low < scale.high and all(scale.low <= value <= scale.high for value in known)
    assert 1 < len(scale.ticks) <= 7
    if ends:
        assert scale.low <= ends[0] + 1e-9 and scale.high >= ends[1] - 1e-9 or ends is None
        assert (scale.high - scale.low) <= 2 * (ends[1] - ends[0])


# ---- figures as SVG


def drawing(name):
    with quiet_style():
        figure = Figure(figsize=(5, 3))
        axes = figure.subplots()
        axes.plot([0, 1, 2], [1, 3, 2], color=ACCENT, marker="o")
        axes.set_title(HOSTILE + "\x01", color=INK)
        axes.fill_between([0, 1], [1, 2], color="#000000")
        axes.set_ylabel("loss", weight="bold", url="http://evil.example")
    return svg_of(figure, name, HOSTILE)


def test_a_figure_is_plain_svg_in_the_pages_colours():
    svg = drawing("one")
    page = Page(f"{svg}")
    tags = {tag for tag, _, _ in page.attributes}
    assert tags <= {"svg", "g", "path", "use", "text", "tspan", "rect", "clippath", "defs"}
    for tag, name, value in page.attributes:
        assert name != "style" and not name.startswith("on"), (tag, name)
        assert "://" not in value and "url(http" not in value
        if name in ("href", "id"):
            assert value.removeprefix("#").startswith("one-")
    assert HOSTILE in " ".join(page.words).replace("\ufffd", ""), "as text, math not parsed"
    colours = {value for _, name, value in page.attributes if name in ("fill", "stroke")}
    assert {"var(--accent)", "var(--ink)", "var(--quiet)"} <= colours
    assert not {ACCENT, INK, "#000000", "#6f6f6f"} & colours
    assert 'font-weight="700"' in svg and "matplotlib" not in svg.lower()


def test_two_figures_on_a_page_do_not_mix_up():
    ids = {}
    for name in ("one", "two"):
        page = Page(str(drawing(name)))
        ids[name] = {value for _, key, value in page.attributes if key == "id"}
        used = {value[1:] for _, key, value in page.attributes if key == "href"}
        clips = {value[5:-1] for _, key, value in page.attributes if key == "clip-path"}
        assert used and clips and used | clips <= ids[name], "all that is referred to is there"
    assert not ids["one"] & ids["two"]
    assert drawing("one") == drawing("one")


def test_page_and_figure_draw_the_same_lines(monkeypatch):
    points = ((0.0, 1.0), (2.0, 3.0), (4.0, 2.0))
    chart = Chart("Loss", (Line("train", "quiet", points), Line("val", "main", points, end="x 1")))
    drawn = []
    plain_draw = charts.draw_charts

    def keep(axes, shown, look):
        plain_draw(axes, shown, look)
        drawn.append([line.get_xydata().tolist() for line in axes.lines])

    monkeypatch.setattr(charts, "draw_charts", keep)
    html = page_charts([chart], "c").html
    made = figure_files("loss", [Panel("loss", (chart,), 3, legend=True)], "A caption.")
    assert drawn[0] == drawn[1] == [[list(point) for point in points]] * 2
    assert set(made) == {"loss.png", "loss.pdf"} and made["loss.pdf"].startswith(b"%PDF")
    path = re.findall(r'd="(M[^"]+)" fill="none" stroke="var\(--accent\)"', html)
    # From 0 to 3 (the first tick that holds the largest value), on a field of 308 x 150 units.
    assert path == ["M40 110L194 10L348 60"]
    assert '<span class="quiet">train</span><span class="main">val</span>' in html


def test_a_chart_without_points_says_so():
    html = page_charts([Chart("Loss", (Line("a", "main", ()), Line("b", "ink", ())))], "c").html
    assert "not measured" in html and 'class="key"' not in html
    single = page_charts([Chart("Loss", (Line("a", "main", ((1.0, 2.0),)),))], "c").html
    assert "<use" in single, "one point is a dot"


def test_an_estimate_has_two_or_three_digits_and_is_never_less():
    counts = [*range(1, 3000), *range(5000, 10**6, 997)]
    for count in counts:
        said = rough_count(count)
        digits = said.replace(",", "").rstrip("0")
        assert len(digits) <= 3 and (len(digits) <= 2 or digits[0] == "1" or count < 100)
        assert count <= int(said.replace(",", "")) < 1.11 * count + 1
    assert [rough_count(count) for count in (5181, 23, 99.2, 999, 0, 2320)] == [
        *("5,200", "23", "100", "1,000", "0", "2,400")
    ]


def test_epochs_have_names_that_tell_them_apart():
    assert epoch_names([0.0, 0.32, 1.0, 12.5]) == ["0", "0.32", "1", "12.5"]
    assert epoch_names([5.0, 5.01, 5.02, 6.0]) == ["5", "5.01", "5.02", "6"]
    assert epoch_names([1e5, 1e6, 123456789.0]) == ["100000", "1000000", "123456789"]
    close = [1 + 1e-12, 1 + 2e-12, 1 + 2.0001e-12]
    assert len(set(epoch_names(close))) == 3


def test_layers_that_share_a_colour_share_an_entry_of_the_key():
    names = [f"layer{index}" for index in range(30)]
    html = page_charts((Chart("x", ordered_lines({n: [(0, 1), (1, 2)] for n in names})),), "k").html
    entries = re.findall(r'<span class="(ramp[0-9])">([^<]*)</span>', html)
    assert [role for role, _ in entries] == [f"ramp{index}" for index in range(5)]
    assert entries[0][1].startswith("layer0 to ") and entries[-1][1].endswith(" to layer29")
    few = page_charts((Chart("x", ordered_lines({n: [(0, 1)] for n in names[:5]})),), "k").html
    assert 'class="key"' not in few and all(f">{name}</" in few for name in names[:5])
