"""The page of a report: self-contained, under its policy, the numbers of the table, whatever the
names are.
"""

import base64
import getpass
import hashlib
import re
import socket

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import zfjax
from tests.reported import Page, decode
from tests.synthetic_run import HOSTILE
from zfjax.report.layers import PRINTED_COLUMNS, epochs_left_out
from zfjax.report.pictures import colour_scale, read_layer, to_bytes
from zfjax.report.words import choose

pytestmark = pytest.mark.slow


def same_as_row(data, frame, row):
    for ours, theirs in (("activation", "activation"), ("margin", "margin")):
        value = None if frame[ours] is None else np.float32(frame[ours])
        assert value == (None if row[theirs] is None else np.float32(row[theirs]))
    assert frame["image"] == row["image_id"] and data["files"][frame["file"]] == row["file_name"]
    assert data["labels"][frame["label"]] == row["label_name"] and frame["place"] == [
        row["y"],
        row["x"],
    ]
    assert frame["box"] == [row["box_y0"], row["box_x0"], row["box_y1"], row["box_x1"]]
    assert frame["jumped"] == row["jumped"]


def test_page_is_self_contained(made):
    names = {path.name for path in made.path.parent.iterdir()}
    for tag, name, value in made.page.attributes:
        if name in ("src", "href", "xlink:href", "srcset", "action", "poster"):
            within = tag == "a" and (value in names or value.startswith("#map="))
            assert value.startswith("data:image/") or within, (tag, name, value[:80])
        assert not name.startswith("on") and name != "style", "the policy would refuse it"
    for style in made.page.held["style"]:
        assert "@import" not in style
        assert all(
            link.startswith("data:image/webp") for link in re.findall(r"url\(([^)]{0,40})", style)
        )
    bare = re.sub(r"(base64,|sha256-)[A-Za-z0-9+/=]+", "", made.text)
    assert "http://" not in bare and "https://" not in bare and "//cdn" not in bare
    for private in (str(made.run.folder), str(made.run.folder.parent), f"/{getpass.getuser()}/"):
        assert private not in bare
    assert not re.search(rf"\b{re.escape(socket.gethostname())}\b", bare)
    assert not re.search(r"[\"'\s](/tmp|/home|/root|/work|/usr)/", bare)


def test_policy_allows_just_what_is_there(made):
    def digest(text):
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    policy = dict(
        part.strip().split(" ", 1) for part in made.page.policy.split(";") if part.strip()
    )
    assert policy["default-src"] == "'none'" and policy["img-src"] == "data:"
    assert (
        policy["script-src"] == digest(made.page.held["script"][1])
        and len(made.page.held["script"]) == 2
    )
    assert policy["style-src"].split() == [digest(style) for style in made.page.held["style"]]


def test_page_says_what_it_is(made):
    words = re.sub(r"\s+", " ", " ".join(made.page.words))
    for said in (
        "zfnet-64-quarter",
        "scenes",
        "300 training images",
        "4 epochs",
        "21 November 2025",
        "deconvnet",
        "1,234 of 1,234 drawn units",
        "zfjax evolve --workdir RUN --data.dir DATA",
        "0123456789ab",
        "9f2c9f2c9f2c",
        "conv3",
        "purity",
        "It is not",
        "99.5th percentile",
        "train split",
    ):
        assert said in words, said


def test_payload_is_the_table(made):
    data = made.page.data
    assert data["steps"] == list(made.evolution.steps)
    compared = 0
    for layer in data["layers"]:
        for map_ in layer["maps"]:
            for selection in ("top", "fixed"):
                rows = made.evolution.rows(
                    layer=layer["name"], map=map_["map"], selection=selection, rank=0
                )
                by_step = {row["step"]: row for row in rows}
                for step, frame in zip(data["steps"], map_[selection], strict=True):
                    assert (frame is None) == (step not in by_step)
                    if frame:
                        same_as_row(data, frame, by_step[step])
                        compared += 1
            best = made.evolution.rows(
                layer=layer["name"], map=map_["map"], selection="top", step=data["steps"][-1]
            )
            assert len(best) == len(map_["best"])
            for frame, row in zip(
                map_["best"], sorted(best, key=lambda row: row["rank"]), strict=True
            ):
                same_as_row(data, frame, row)
            assert [data["labels"][label] for label in map_["labels"][-1]] == [
                row["label_name"] for row in best
            ]
        assert layer["settled"] == list(made.evolution.settled(layer["name"]).values())
    assert compared > 50


def test_sheets_hold_the_tiles(made):
    """A tile found through payload, CSS rule and WebP is the tile of the npz."""
    data, style = made.page.data, made.page.held["style"][1]
    map_ = data["layers"][1]["maps"][0]
    sheet, frame = map_["sheet"], map_["top"][-1]
    uri = re.search(rf"\.s{sheet['number']}\{{background-image:url\(([^)]+)\)", style)[1]
    pixels = np.asarray(decode(uri).convert("RGB"))
    tile = made.evolution.tiles("conv2", data["steps"][-1])["top", map_["map"], 0]
    wanted = {
        "projection": to_bytes(tile.projection, colour_scale(tile.projection)),
        "patch": tile.patch,
    }
    assert frame["scale"] == pytest.approx(colour_scale(tile.projection), rel=1e-6)
    for kind, picture in wanted.items():
        y, x = (27 * place for place in divmod(frame[kind], sheet["columns"]))
        assert (pixels[y : y + 27, x : x + 27] == picture).all()
    assert map_["shared"] == max(
        frame["scale"] for frame in (*map_["top"], *map_["fixed"]) if frame
    )


def test_hostile_names_stay_texts(hostile):
    tags = {tag for tag, _, _ in hostile.page.attributes}
    assert len(hostile.page.held["script"]) == 2 and "iframe" not in tags
    assert not any(
        "evil.example" in value
        for _, name, value in hostile.page.attributes
        if name in ("src", "href")
    )
    labels = hostile.page.data["labels"]
    assert (
        HOSTILE[0] in labels
        and HOSTILE[2] in labels
        and "{{ 7*7 }}" in labels
        and "new line" in labels
    )
    assert "<script>alert" not in hostile.text and "</style><img" not in hostile.text
    assert "\u202e" not in hostile.text and "&lt;script&gt;" in hostile.text, (
        "the data set's name is in the headline"
    )
    for stem in ("figure2-conv3", "figure4", "training"):
        assert (hostile.path.parent / f"{stem}.png").stat().st_size > 10_000
    assert hostile.page.data["names"][:4] == ["0", "0.01", "0.08", "1"]
    assert hostile.page.data["at"][:4] == ["0", "step:1", "step:8", "1"]


def test_without_photos_no_pixel_of_one(without_photos):
    evolution, patches = without_photos.evolution, set()
    for layer in without_photos.page.data["layers"]:
        for map_ in layer["maps"]:
            assert all(
                frame["patch"] is None
                for frame in (*map_["top"], *map_["fixed"], *map_["best"])
                if frame
            )
    for layer in evolution.layers:
        patches |= {
            tile.patch.tobytes()
            for step in evolution.steps
            for tile in evolution.tiles(layer, step).values()
        }
        read = read_layer(evolution, layer, evolution.steps, evolution.maps(layer), photos=False)
        assert not any(picture.tobytes() in patches for map_ in read.maps for picture in map_.stack)
    assert ".photo{" not in without_photos.text and 'class="tile patch' not in without_photos.text
    assert "made without photos" in " ".join(without_photos.text.split())
    laid = {what[0].tobytes() for stem in without_photos.laid for what in without_photos.laid[stem]}
    assert laid and not patches & laid


def test_every_map_drawn_is_there(made):
    for layer in made.page.data["layers"]:
        assert [map_["map"] for map_ in layer["maps"]] == list(made.evolution.maps(layer["name"]))
    assert made.page.data["steps"] == list(made.evolution.steps)


def test_a_network_whose_maps_are_all_dead_has_a_page(tmp_path):
    """Found by its first layer, which no image excites at any step: nothing is drawn, nothing has
    settled, and the page says so.
    """

    def features(parameters, x):
        return jax.nn.relu(-jnp.abs(x @ parameters["kernel"]) - 1)

    trees = {step: {"kernel": np.ones((3, 2), np.float32)} for step in (0, 1)}
    images = np.random.default_rng(0).integers(1, 256, (5, 12, 12, 3), np.uint8)
    subject = zfjax.subject_from(trees, model=features, images=images, mean=0, std=60, input=12)
    evolution = zfjax.evolve(subject, out=tmp_path, top=2)
    assert evolution.record.dead_share == {evolution.layers[0]: (1.0, 1.0)}
    assert evolution.record.purity == {evolution.layers[0]: (None, None)}
    page = Page(zfjax.write_report(tmp_path).read_text(encoding="utf-8"))
    assert all(map_["top"] == [None, None] for map_ in page.data["layers"][0]["maps"])


def test_paper_has_a_column_for_every_epoch_or_says_which_it_lacks(made):
    words = re.sub(r"\s+", " ", " ".join(made.page.words))
    assert "one feature map: at each epoch, the deconvnet" in words
    assert "left out for want of room" not in words
    epochs = [float(epoch) for epoch in range(PRINTED_COLUMNS)]
    assert epochs_left_out(epochs, choose(tuple(epochs), PRINTED_COLUMNS)) == ""
    longer = (*epochs, float(PRINTED_COLUMNS))
    printed = choose(longer, PRINTED_COLUMNS)
    [missing] = set(range(len(longer))) - set(printed)
    assert epochs_left_out(longer, printed) == str(missing)
    assert epochs_left_out((0.0, 0.25, 1.0, 2.5), (0, 2)) == "0.25 and 2.5"
    assert epochs_left_out([float(each) for each in range(40)], range(0, 40, 3)) == "26 of 40"
