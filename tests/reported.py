"""A report of a made-up run, taken apart: its page parsed, its static figures before they became
files.
"""

import base64
import io
import json
from html.parser import HTMLParser

import pytest
from PIL import Image

from tests.synthetic_run import make_run
from zfjax.report.board import Board
from zfjax.report.page import write_report

VOID = {"meta", "rect", "path", "img", "input", "circle", "br", "hr", "link"}


class Page(HTMLParser):
    """Checks that tags are balanced; keeps attributes, texts, and what scripts and styles hold."""

    def __init__(self, text):
        super().__init__()
        self.open, self.attributes, self.held, self.words = [], [], {"script": [], "style": []}, []
        self.feed(text)
        self.close()
        assert self.open == [], f"unclosed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.attributes += [(tag, name, value or "") for name, value in attributes]
        if tag not in VOID:
            self.open.append(tag)
        if tag in self.held:
            self.held[tag].append("")

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, text):
        if self.open and self.open[-1] in self.held:
            self.held[self.open[-1]][-1] += text
        else:
            self.words.append(text)

    @property
    def data(self):
        return json.loads(self.held["script"][0])

    @property
    def policy(self):
        contents = [
            value for tag, name, value in self.attributes if (tag, name) == ("meta", "content")
        ]
        return next(value for value in contents if "default-src" in value)


class Reported:
    """A made-up run and its report; ``boards`` are the static figures before they became files,
    ``laid`` what tiles were laid on each board: (picture, y, x, edge).
    """

    def __init__(self, folder, shape, **options):
        self.run = make_run(folder, shape)
        self.boards, laid = {}, {}
        with pytest.MonkeyPatch.context() as patch:
            files, tile = Board.files, Board.tile

            def keep_board(board, stem):
                self.boards.setdefault(stem, board)
                return files(board, stem)

            def keep_tile(board, *what):
                laid.setdefault(id(board), []).append(what)
                return tile(board, *what)

            patch.setattr(Board, "files", keep_board)
            patch.setattr(Board, "tile", keep_tile)
            self.path = write_report(self.run, **options)
        self.laid = {stem: laid.get(id(board), []) for stem, board in self.boards.items()}
        self.text = self.path.read_text(encoding="utf-8")
        self.page = Page(self.text)
        self.evolution = self.run.evolution()


def spare_figures(patch):
    """Reports draw one small figure: the others take most of their time, and are not looked at."""

    def blank(*arguments):
        handle = io.BytesIO()
        Image.new("RGB", (40, 30), "white").save(handle, "PNG")
        return {"figure4.png": handle.getvalue()}

    patch.setattr("zfjax.report.figures.figure4", blank)
    for name in ("figures.figure2", "figures.filters_figure"):
        patch.setattr(f"zfjax.report.{name}", nothing)
    for name in ("curves.training_figure", "curves.settled_figure"):
        patch.setattr(f"zfjax.report.{name}", nothing)


def nothing(*arguments):
    """No figure."""
    return {}


def decode(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.split("base64,")[1])))
