"""The shell of every page: one file that opens anywhere, under a policy that allows nothing else.

A page is a list of pieces. A piece is HTML with what it needs: data for scripts, and style and
script of its own. The shell puts the kit's parts (``parts/``) and the pieces together in a fixed
order; style and script are allowed by their digests, pictures only as data: URIs, and nothing from
elsewhere. Hence no ``style=`` and no ``on...=`` in HTML: the browser would refuse them.

A page that is too large for one file has its data in a script and its pictures in files beside it
(``make_page_beside``): what a browser loads from a disk too, where it refuses fetch and modules.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from zfjax.report.kit.wording import number, percent

STYLES = ("base", "slider", "film", "table", "chart", "dots")
SCRIPTS = ("base", "address", "tiles", "choices", "slider", "film", "keyboard")
"""In this order, before the pieces' own; a later part uses what earlier ones define."""
LAST_STYLE, LAST_SCRIPT = "print", "start"
"""After the pieces' own: paper overrules the screen, and the first picture needs all parts."""


@dataclass(frozen=True)
class Piece:
    """HTML and what goes with it."""

    html: Markup
    data: Mapping[str, Any] = field(default_factory=dict)
    """JSON values for scripts: the page's ``data`` is that of all its pieces. Two pieces may share
    a key only where both values are mappings; these are joined.
    """
    sheets: str = ""
    """CSS with pictures in it, or sizes that come from data."""
    style: str = ""
    """CSS of the piece's kind: the same text of several pieces is written once."""
    script: str = ""
    """JavaScript of the piece's kind: likewise. It shares the names of the kit's parts: ``data``,
    ``state``, ``draws``, ``go``, ``make``, ``number``, ... (parts/base.js).
    """

    def __html__(self) -> str:
        """The HTML, so that a template can write a piece; what goes with it has to be joined to
        what the template makes (``join_pieces``).
        """
        return self.html


def join_pieces(pieces: Iterable[Piece], html: Markup | None = None) -> Piece:
    """One piece of several, in their order; ``html`` in place of theirs one after the other.

    Raises ValueError where two pieces have different data of one name.
    """
    pieces = tuple(pieces)
    data: dict[str, Any] = {}
    for piece in pieces:
        for key, value in piece.data.items():
            known = data.get(key)
            if isinstance(known, Mapping) and isinstance(value, Mapping):
                if set(known) & set(value):
                    raise ValueError(f"Two pieces of a page have {key!r} of one name.")
                data[key] = {**known, **value}
            elif key in data:
                raise ValueError(f"Two pieces of a page have data of the name {key!r}.")
            else:
                data[key] = value
    return Piece(
        Markup("\n").join(piece.html for piece in pieces) if html is None else html,
        data,
        "".join(piece.sheets for piece in pieces),
        _once(piece.style for piece in pieces),
        _once(piece.script for piece in pieces),
    )


def section(title: str, *contents: Piece | Markup | str, columns: bool = False) -> Piece:
    """A titled section of a page. A plain ``str`` is a paragraph, escaped; ``columns``: its
    paragraphs in a readable width.
    """
    pieces = [
        content
        if isinstance(content, Piece)
        else Piece(content if isinstance(content, Markup) else Markup("<p>{}</p>").format(content))
        for content in contents
    ]
    inner = join_pieces(pieces)
    html = Markup('<section class="text{}">\n<h2>{}</h2>\n{}\n</section>').format(
        " columns" if columns else "", title, inner.html
    )
    return join_pieces([inner], html)


def make_page(
    title: str, pieces: Iterable[Piece], heading: str | None = None, facts: Iterable[str] = ()
) -> str:
    """The whole page as HTML: write it as UTF-8.

    ``title`` names the tab, ``heading`` (by default the title) stands at the top with ``facts`` in
    one line beside it. Texts are escaped. A slider (``slider.curve_slider``), of which a page has
    at most one, comes first; all else belongs into ``main``: see ``main_of``. Raises ValueError
    where two pieces have data of one name.
    """
    return _rendered(join_pieces(pieces), title, title if heading is None else heading, facts)


def make_page_beside(
    data_file: str,
    title: str,
    pieces: Iterable[Piece],
    heading: str | None = None,
    facts: Iterable[str] = (),
) -> tuple[str, str]:
    """The same page with its data in a script of its own: (HTML, text of the script).

    ``data_file`` is where the script will lie, relative to the page; the pieces' pictures may be
    relative too. Raises as ``make_page``.
    """
    whole = join_pieces(pieces)
    heading = title if heading is None else heading
    html = _rendered(whole, title, heading, facts, data_file)
    # A text within a script, in ASCII: browsers parse it twice as fast as an object.
    return html, f"const pageData = JSON.parse({json.dumps(json.dumps(dict(whole.data)))});\n"


def _rendered(
    whole: Piece, title: str, heading: str, facts: Iterable[str], data_file: str | None = None
) -> str:
    style = part_text("css", *STYLES) + whole.style + part_text("css", LAST_STYLE)
    script = part_text("js", *SCRIPTS) + whole.script + part_text("js", LAST_SCRIPT)
    return (
        templates("kit")
        .get_template("shell.html.j2")
        .render(
            title=title,
            heading=heading,
            facts=tuple(facts),
            body=whole.html,
            data=dict(whole.data),
            data_file=data_file,
            style=style,
            own_style=whole.sheets,
            script=script,
            policy=policy(script, style, whole.sheets, beside=data_file is not None),
        )
    )


def main_of(*pieces: Piece) -> Piece:
    """The pieces within the page's ``main``, where screen readers jump to."""
    inner = join_pieces(pieces)
    return join_pieces([inner], Markup("<main>\n{}\n</main>").format(inner.html))


def policy(script: str, *styles: str, beside: bool = False) -> str:
    """The content security policy that allows exactly these texts, and pictures within the page.

    ``beside``: also scripts and pictures that lie beside the page, on a server or a disk; to a
    browser a file is no part of 'self' in every case, hence the scheme.
    """
    files = " 'self' file:" if beside else ""

    def allowed(*texts: str) -> str:
        digests = (hashlib.sha256(text.encode()).digest() for text in texts)
        return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)

    return (
        f"default-src 'none'; img-src data:{files}; script-src {allowed(script)}{files}; style-src"
        f" {allowed(*styles)}; base-uri 'none'; form-action 'none'"
    )


def part_text(kind: str, *names: str, folder: str = "kit/parts") -> str:
    """The parts ``names`` ("css" or "js") of a folder below zfjax/report, one after the other."""
    root = files("zfjax.report").joinpath(folder)
    return "".join(root.joinpath(f"{name}.{kind}").read_text(encoding="utf-8") for name in names)


@lru_cache
def templates(folder: str) -> Environment:
    """The templates of a folder below zfjax/report: everything escaped, no name undefined."""
    environment = Environment(
        loader=PackageLoader("zfjax.report", folder),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters.update(number=number, percent=percent)
    return environment


def _once(texts: Iterable[str]) -> str:
    return "".join(dict.fromkeys(texts))
