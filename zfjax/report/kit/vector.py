"""A matplotlib figure as SVG within a page: no script, no style, no link, in the page's colours.

What matplotlib writes is parsed and written anew from a short list of elements and attributes; all
else is left out. Styles become attributes (the page's policy refuses ``style=``), known colours
become the page's CSS variables, so that a figure follows dark mode and paper, and ids get the
figure's name before them, so that several figures on a page do not mix up their clipping.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from xml.etree import ElementTree

import matplotlib
from markupsafe import Markup, escape
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from zfjax.report.kit.style import ACCENT, FAINT, INK, QUIET, RAMP, quiet_style

DOTS = 72
"""An inch: a unit of the SVG is a point of the figure."""
COLOURS = {
    INK: "var(--ink)",
    QUIET: "var(--quiet)",
    FAINT: "var(--faint)",
    ACCENT: "var(--accent)",
    "#000000": "var(--ink)",
    "#ffffff": "var(--paper)",
    **{colour: f"var(--r{index})" for index, colour in enumerate(RAMP) if colour != ACCENT},
}
"""Colours of figures that follow the page; others stay as they are."""
GEOMETRY = {
    "g": ("transform",),
    "defs": (),
    "clipPath": (),
    "path": ("d", "transform"),
    "rect": ("x", "y", "width", "height", "transform"),
    "use": ("x", "y", "transform"),
    "text": ("x", "y", "transform"),
    "tspan": ("x", "y"),
}
"""Elements that are kept, and their attributes that are taken as they are."""
PAINT = (
    *("fill", "stroke", "opacity", "fill-opacity", "stroke-opacity", "stroke-width"),
    *("stroke-dasharray", "stroke-dashoffset", "stroke-linecap", "stroke-linejoin"),
    *("text-anchor", "font-size", "font-weight"),
)
"""Properties that are kept of a style."""
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SIZE = re.compile(r' font-size="[\d.]+px"')
_FONT = re.compile(r"(?:(bold|[1-9]00) )?([\d.]+)px ")


def svg_of(figure: Figure, name: str, words: str) -> Markup:
    """``figure`` as an inline SVG element as wide as what it stands in.

    ``name``: letters, digits and "-", unique on the page. ``words`` say to screen readers what is
    shown. Texts stay texts, in the page's font; they are shown as they are, math is not parsed.
    """
    FigureCanvasSVG(figure)
    handle = io.StringIO()
    with quiet_style(), matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(
            handle,
            format="svg",
            dpi=DOTS,
            transparent=True,
            metadata={"Date": None, "Creator": None},
        )
    root = ElementTree.fromstring(_NOT_XML.sub("\ufffd", handle.getvalue()))
    width, height = (round(DOTS * inches, 2) for inches in figure.get_size_inches())
    inner = "".join(text for child in root for text in _written(child, name))
    sizes = set(_SIZE.findall(inner))
    size = sizes.pop() if len(sizes) == 1 else ""
    inner = inner.replace(size, "") if size else inner
    # A fill that is not written is black: matplotlib leaves it out.
    return Markup(
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(words)}"'
        f' fill="var(--ink)"{size}>{inner}</svg>'
    )


def _written(element: ElementTree.Element, name: str) -> Iterator[str]:
    tag = element.tag.rpartition("}")[2]
    if tag == "a":  # a link: what is shown stays, where it leads does not
        yield from (text for child in element for text in _written(child, name))
    if tag not in GEOMETRY:
        return
    attributes = dict(_attributes(element, tag, name))
    if attributes.get("fill") == "none" and "stroke" not in attributes:
        return
    inner = "".join(text for child in element for text in _written(child, name))
    if tag in ("text", "tspan"):
        inner = f"{escape(element.text or '')}{inner}"
    if tag == "g" and not attributes:
        yield inner
    elif inner or tag in ("path", "rect", "use"):
        said = "".join(f' {key}="{escape(value)}"' for key, value in attributes.items())
        yield f"<{tag}{said}>{inner}</{tag}>" if inner else f"<{tag}{said}/>"


def _attributes(element: ElementTree.Element, tag: str, name: str) -> Iterator[tuple[str, str]]:
    for key, value in element.attrib.items():
        key = key.rpartition("}")[2]
        if key in GEOMETRY[tag]:
            if not value.startswith("rotate(-0 "):
                yield key, _compact(value)
        elif key == "id" and tag in ("clipPath", "path"):
            yield key, f"{name}-{value}"
        elif key == "href" and tag == "use" and value.startswith("#"):
            yield key, f"#{name}-{value[1:]}"
        elif key == "clip-path" and value.startswith("url(#"):
            yield key, f"url(#{name}-{value[5:]}"
        elif key == "style":
            yield from _painted(_properties(value))
        elif key in PAINT:
            yield from _painted({key: value})


def _properties(style: str) -> dict[str, str]:
    pairs = (item.partition(":") for item in style.split(";"))
    properties = {key.strip(): value.strip() for key, _, value in pairs if value}
    if match := _FONT.match(properties.get("font", "")):
        properties["font-size"] = match[2]
        if match[1]:
            properties["font-weight"] = match[1]
    return properties


def _painted(properties: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for key, value in properties.items():
        if key in ("fill", "stroke"):
            value = COLOURS.get(value.lower(), value)
        if key in PAINT and re.fullmatch(r"[\w#.,() %-]+", value):
            yield key, value


def _compact(value: str) -> str:
    """Numbers of a path or place with two decimals, and no more space than is needed."""

    def short(match: re.Match[str]) -> str:
        return f"{round(float(match[0]), 2) + 0.0:g}"  # + 0.0: no minus before a zero

    value = re.sub(r"-?\d+\.\d+", short, value)
    return re.sub(r" ?([MLQCZz]) ?", r"\1", " ".join(value.split()))
