"""Films of a layer's maps over the epochs: their frames, formats and words."""

import stat
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests.synthetic_run import SMALL, make_run
from zfjax.commands.cli import main
from zfjax.errors import ZfjaxError
from zfjax.report.film import END, film_of, seconds_of, write_films
from zfjax.report.frames import BOTTOM, HEIGHT, LABEL, MARGIN, TOP, WIDTH, _timeline, grid_of
from zfjax.report.pictures import read_layer
from zfjax.report.words import file_stem

ACCENT = (0xC4, 0x45, 0x1C)
EARLIER = (("gradient", "gif"), ("deconvnet", "gif"), ("deconvnet+norm", "mp4"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("film") / "run", SMALL)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 7, 9, 16, 24])
def test_maps_fill_the_frame_and_stay_in_it(count):
    columns, rows, edge = grid_of(count)
    assert columns * rows >= count and edge > 60
    assert columns * edge <= WIDTH - 2 * MARGIN
    assert rows * (edge + LABEL) <= HEIGHT - TOP - BOTTOM
    assert columns * (rows - 1) < count, "no empty row"


@pytest.mark.parametrize("count", [1, 2, 11, 71, 400])
def test_a_film_is_neither_hurried_nor_endless(count):
    seconds = seconds_of(count)
    assert len(seconds) == count and seconds[-1] == END
    assert all(0.2 <= each <= 0.7 for each in seconds[:-1])
    assert all(round(10 * each) == pytest.approx(10 * each) for each in seconds)


def accent_right_of_the_axis(frame):
    """How far the way gone on the time line reaches, in pixels."""
    pixels = np.asarray(frame.convert("RGB")).astype(int)
    near = (np.abs(pixels[HEIGHT - 62] - ACCENT) < 16).all(axis=1)
    return int(np.flatnonzero(near).max(initial=0))


@pytest.mark.slow
def test_a_film_has_a_frame_an_epoch_and_says_which(run):
    film = film_of(run, layers=["conv3", "conv2"])
    [second, third] = write_films(film)
    assert [path.name for path in (second, third)] == ["film-conv2.gif", "film-conv3.gif"]
    evolution = run.evolution()
    pictures = read_layer(
        evolution, "conv3", evolution.steps, evolution.maps("conv3"), photos=False
    )
    reached = []
    with Image.open(third) as opened:
        assert opened.size == (WIDTH, HEIGHT) and opened.n_frames == len(evolution.steps) == 5
        assert opened.info["loop"] == 0
        frames = []
        for index, lasting in enumerate(seconds_of(5)):
            opened.seek(index)
            assert opened.info["duration"] == round(1000 * lasting)
            frames.append(np.asarray(opened.convert("RGB")))
            reached.append(accent_right_of_the_axis(opened))
    assert reached == sorted(set(reached)), "the handle goes on with the epochs"
    assert reached[-1] > WIDTH - MARGIN - 10
    assert all((frame[5, 5] == 255).all() for frame in frames), "white paper"
    # The heads differ where the epoch stands, and nothing of the first frame is left in the last.
    heads = {frame[:TOP, : WIDTH // 2].tobytes() for frame in frames}
    assert len(heads) == 5
    columns, rows, edge = grid_of(len(pictures.maps))
    dead = [index for index, map_ in enumerate(pictures.maps) if map_.top[-1] is None]
    assert len(dead) == 1, "the made-up run has one"
    for index, map_ in enumerate(pictures.maps):
        shot = map_.top[-1]
        row, column = divmod(index, columns)
        x = (WIDTH - columns * (edge + 14) + 14) // 2 + column * (edge + 14)
        high = rows * (edge + 14 + LABEL) - 14
        y = TOP + (HEIGHT - TOP - BOTTOM - high) // 2 + row * (edge + 14 + LABEL)
        shown = frames[-1][y : y + edge, x : x + edge].astype(int)
        if shot is None:
            assert (shown[5:40, 5:40] > 250).all(), "an empty frame, no grey tile"
            continue
        tile = Image.fromarray(map_.stack[shot.projection]).resize((edge, edge))
        assert np.corrcoef(shown.ravel(), np.asarray(tile).ravel())[0, 1] > 0.8


@pytest.mark.parametrize("highest", [0.02, 1.0])
def test_the_accuracy_is_a_curve_that_fills_its_strip(highest):
    """Of a network that is hardly ever right too; unknown ones leave the handle on the line."""
    canvas, epochs = Image.new("RGB", (WIDTH, HEIGHT), "white"), (0.0, 1.0, 2.0)
    rows = []
    for index in range(3):
        _timeline(canvas, epochs, index, (0.0, highest / 2, highest))
        near = (np.abs(np.asarray(canvas).astype(int) - ACCENT) < 16).all(axis=2)
        column = near[:, MARGIN + index * (WIDTH - 2 * MARGIN) // 2]
        rows.append(int(np.flatnonzero(column).min()))
    assert rows[0] - rows[1] == pytest.approx(13, abs=1)
    assert rows[0] - rows[2] == pytest.approx(26, abs=1)
    greys = np.unique(np.asarray(canvas.convert("L"))[:, 400])
    assert len(greys) > 4, "no steps"
    _timeline(canvas, (3.0,), 0, (None,))


@pytest.mark.slow
def test_every_rule_has_a_film_of_its_own(tmp_path):
    """Named by the rule but for the main one's; those of an earlier evolution's rules go."""
    shape = replace(SMALL, epochs=1, layers=("conv1", "conv2"), rules=("guided", "guided+norm"))
    run = make_run(tmp_path / "run", shape)
    stale = [run.report / f"film-conv2-{rule}.{kind}" for rule, kind in EARLIER]
    other = run.report / "film-conv1-gradient.gif"
    run.report.mkdir()
    for path in (*stale, other):
        path.write_bytes(b"GIF")
    told = []
    paths = write_films(film_of(run, layers="conv2"), lambda *what: told.append(what))
    rules = ("", "-guided", "-guided+norm")
    assert [path.name for path in paths] == [f"film-conv2{rule}.gif" for rule in rules]
    assert not any(path.exists() for path in stale) and other.exists()
    assert told[-1] == ("filming", 3, 3)
    frames = []
    for path in paths:
        with Image.open(path) as opened:
            opened.seek(1)
            frames.append(np.asarray(opened.convert("RGB")).astype(int))
    # The made-up other rules draw the main one's pictures the other way round, about mid-grey.
    _, _, edge = grid_of(4)
    x = (WIDTH - 4 * (edge + 14) + 14) // 2
    y = TOP + (HEIGHT - TOP - BOTTOM - edge - LABEL) // 2
    middle = slice(y + edge // 4, y + edge * 3 // 4), slice(x + edge // 4, x + edge * 3 // 4)
    first, second, _ = (frame[middle] for frame in frames)
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] < -0.8
    captions = [frame[HEIGHT - 52 :] for frame in frames]
    assert (captions[0] != captions[1]).any() and (captions[1] != captions[2]).any()
    assert (frames[1] == frames[2])[:TOP].all()


@pytest.mark.slow
def test_the_command_writes_films_beside_the_report_and_says_where(run, capsys):
    command = ["report", "--workdir", str(run.folder)]
    assert main([*command, "--film", "conv9"]) == 1
    assert "has no layer 'conv9'" in capsys.readouterr().err
    assert main([*command, "--film", "--format", "avi"]) == 1
    assert "--format 'avi': it is gif or mp4" in capsys.readouterr().err
    assert main([*command, "--format", "gif"]) == 1
    assert "--format goes with --film" in capsys.readouterr().err
    assert not (run.report / "index.html").exists(), "nothing is written for a mistake"
    assert main([*command, "--film", "conv1", "--no-photos"]) == 0
    told = capsys.readouterr().out
    assert f"Film: {run.report / 'film-conv1.gif'}" in told and "Open the report" in told


def fake_ffmpeg(folder, script):
    program = folder / "ffmpeg"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(folder)


@pytest.mark.slow
def test_mp4_is_ffmpegs_and_gif_without_it(run, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    film = film_of(run, format="mp4", layers="conv1")
    assert film.kind == "gif" and "ffmpeg, which is not on the path: GIF is written" in film.note
    [gif] = write_films(film)
    assert gif.suffix == ".gif"
    # What it is sent, in place of a film: the raw frames.
    system = "PATH=/usr/bin:/bin; for last; do :; done;"
    folder = fake_ffmpeg(tmp_path, f'{system} cat > "$last"')
    monkeypatch.setenv("PATH", folder)
    film = film_of(run, format="mp4", layers="conv1")
    assert film.kind == "mp4" and not film.note
    [mp4] = write_films(film)
    assert mp4.suffix == ".mp4" and not gif.exists(), "one film a layer"
    raw = np.fromfile(mp4, np.uint8).reshape(-1, HEIGHT, WIDTH, 3)
    assert len(raw) == round(10 * sum(seconds_of(5)))
    np.testing.assert_array_equal(raw[0], raw[6])
    assert (raw[0] != raw[7]).any()
    for script in (
        "echo no such encoder >&2; exit 1",
        f"{system} cat > /dev/null; echo x >&2; exit 3",
    ):
        fake_ffmpeg(tmp_path, script)
        before = mp4.stat().st_mtime_ns
        with pytest.raises(ZfjaxError, match="ffmpeg could not write the film"):
            write_films(film)
        assert mp4.stat().st_mtime_ns == before, "the finished one stays"
        assert sorted(path.name for path in run.report.glob("film-conv1*")) == ["film-conv1.mp4"]


def test_layers_have_files_of_their_own():
    """Somebody else's may be called alike but for the slash, which no file name can have."""
    layers = ("x.3", "a", "x/3", "x/3/b", "x.3/b")
    stems = [file_stem(layer, layers) for layer in layers]
    assert stems == ["x.3", "a", "x.3-2", "x.3.b", "x.3.b-2"]
