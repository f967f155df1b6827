"""Machines as people have them: no home, an unknown user, streams that cannot show a letter or are
full, buckets for folders, names that are too long, marks of Windows' editors."""

import codecs
import contextlib
import io
import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

import zfjax
from tests.data_helpers import altered, encoded, jpeg, make_tree, picture
from tests.small import make_config
from zfjax import config as configs
from zfjax.commands.cli import main
from zfjax.data import finding
from zfjax.data.dataset import open_dataset
from zfjax.data.fetching import fetch
from zfjax.data.imagenet import import_imagenet
from zfjax.data.importing import import_images
from zfjax.data.scenes import ensure_scenes
from zfjax.errors import ZfjaxError
from zfjax.files import fitting, is_url, local_path, read_json, write_text
from zfjax.homes import can_be_made, temporary_home
from zfjax.inputs import open_data
from zfjax.run.folder import load_run, read_metrics
from zfjax.training.loop import train

URLS = (
    "gs://bucket/sets",
    "s3://bucket/x.png",
    "hf://sets/x",
    "file:///tmp/x",
    "https://a.b/c.jpg",
)
SOURCE = {f"{split}/größe 猫/{n}.jpg": jpeg(n) for split in ("train", "val") for n in range(2)}


NET = """
import flax.linen as nn


def build():
    return nn.Sequential([nn.Conv(6, (5, 5)), nn.relu])
"""


def commands(url: str, run: Path) -> list[list[str]]:
    """Every option that takes a path, with a URL for it."""
    project = ["project", "--workdir", str(run), "--layer", "conv1", "--map", "0"]
    image = ["--image", str(run.parent / "x.jpg")]
    (run.parent / "here" / "net.py").write_text(NET)
    foreign = ["evolve", "--model", "net.py:build", "--data.name", "small", "--input", "16"]
    foreign += ["--mean", "127", "--std", "50", "--maps", "1"]
    grid = ["ablate", "--workdir", "grid", "--preset", "demo"]
    return [
        ["data", "import", url, "--name", "x", "--data-dir", "data"],
        ["data", "import", str(run), "--name", "x", "--data-dir", url],
        ["data", "import", str(run), "--name", "x", "--data.dir", url],
        ["data", "list", "--data-dir", url],
        ["data", "fetch", "beans", "--data-dir", url],
        ["train", "--config", url, "--workdir", "run"],
        ["train", "--preset", "demo", "--workdir", url],
        ["train", "--preset", "demo", "--workdir", "run", "--data.dir", url],
        ["train", "--preset", "imagenet", "--workdir", "run", "--data.dir", url],
        ["evaluate", "--workdir", url],
        ["evaluate", "--workdir", str(run), "--data.dir", url],
        ["evolve", "--workdir", url],
        ["evolve", "--workdir", str(run), "--data.dir", url, "--maps", "2"],
        [*project, "--image", url],
        [*project, "--image-id", "0", "--data.dir", url],
        [*project, *image, "--out", url],
        ["report", "--workdir", url],
        ["info", "--workdir", url],
        ["info", "--preset", "imagenet", "--data.dir", url],
        ["demo", "--workdir", url],
        ["measure", "--workdir", url],
        ["measure", "census", "--workdir", str(run), "--data.dir", url],
        ["measure", "census", "--workdir", str(run), "--seeds-of", url],
        ["info", "--model", f"{url}/net.py:build"],
        ["info", "--model", "net:build", "--checkpoints", url],
        [*foreign, "--workdir", url, "--checkpoints", str(run / "checkpoints")],
        [*foreign, "--workdir", "out", "--checkpoints", url],
        ["ablate", "--workdir", url, "--preset", "demo", "--dry-run"],
        ["ablate", "--workdir", "grid", "--config", url, "--dry-run"],
        [*grid, "--cell", f"a={url}", "--dry-run"],
        [*grid, "--data.dir", url, "--dry-run"],
        [*grid, "--data.name", "x", "--data.dir", url],
    ]


@pytest.mark.parametrize("url", URLS)
def test_what_is_a_url(url):
    assert is_url(url) and is_url(Path(url)) and is_url(url.upper().replace("://", ":/"))
    for path in (f"./{url}", f"/{url}", "c:/data", "a b:/c", "gs:", "x/s3://y", "~/x"):
        assert not is_url(path)
    with pytest.raises(ZfjaxError, match=" is a URL, and zfjax reads and writes files of this"):
        local_path(url)


@pytest.mark.slow
def test_a_url_for_a_path_is_refused_by_every_option(tmp_path, unbroken, monkeypatch, capsys):
    url = URLS[0]
    (tmp_path / "here").mkdir()
    (tmp_path / "x.jpg").write_bytes(jpeg(1))
    shutil.copytree(unbroken, tmp_path / "run")
    monkeypatch.chdir(tmp_path / "here")
    for command in commands(url, tmp_path / "run"):
        assert main(command) == 1, command
        said = capsys.readouterr().err.strip().split("\n")[-1]
        assert " is a URL" in said or "is not a folder" in said, (command, said)
    left = {path.name for path in (tmp_path / "here").iterdir()}
    assert not left - {"run", "net.py", "__pycache__"}
    assert not list((tmp_path / "here").rglob("*:*"))


@pytest.mark.parametrize("url", URLS[:2])
def test_a_url_is_refused_by_every_function(tmp_path, unbroken, data_dir, monkeypatch, url):
    monkeypatch.chdir(tmp_path)
    source = data_dir.parent / "source"
    for where in (url, Path(url)):
        for function, arguments, named in (
            (import_images, (source, "x", where), {}),
            (import_images, (where, "x", tmp_path), {}),
            (import_imagenet, (data_dir, "x", where), {}),
            (fetch, ("beans", where), {}),
            (ensure_scenes, (where,), {}),
            (open_dataset, ("small", where), {}),
            (finding.dataset_names, (where,), {}),
            (train, (make_config(data_dir), where), {}),
            (train, (make_config(where), tmp_path / "run"), {}),
            (zfjax.load_run, (where,), {}),
            (zfjax.evolve, (where,), {}),
            (zfjax.evolve, (unbroken,), {"data_dir": str(where), "name": "x", "maps": 1}),
            (zfjax.project, (unbroken, where, "conv1", 0), {}),
        ):
            with pytest.raises(ZfjaxError, match=r"is a URL|is not a folder"):
                function(*arguments, **named)
    monkeypatch.setenv("ZFJAX_DATA", url)
    with pytest.raises(ZfjaxError, match="is a URL"):
        finding.data_home()
    assert not list(tmp_path.rglob("*:*"))


def test_a_folder_of_data_that_is_not_utf_8_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    source = make_tree(tmp_path / "in\udcff", SOURCE)
    assert main(["data", "import", str(source), "--name", "x", "--data-dir", "d\udcff"]) == 1
    assert "is not UTF-8; choose another name" in capsys.readouterr().err
    assert main(["data", "import", str(source), "--name", "x", "--data-dir", "d"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"d", "in\udcff"}


def test_a_folder_with_a_colon_is_no_url(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_tree(tmp_path / "file:", SOURCE)
    for number, where in enumerate(("./file:", str(tmp_path / "file:"), "file:")):
        assert import_images(where, f"set_{number}", "c:d").counts["train"]


@pytest.fixture
def homeless(tmp_path, monkeypatch):
    """An unknown user without a home; where temporary files go."""

    def unknown(number):
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "ZFJAX_DATA", "MPLCONFIGDIR"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "tmp"


HOMES = {"none": None, "a file": "/dev/null/home", "no letters": ""}


@pytest.mark.slow
@pytest.mark.parametrize("home", HOMES)
def test_all_works_without_a_home(homeless, unbroken, monkeypatch, capsys, home):
    if HOMES[home] is not None:
        monkeypatch.setenv("HOME", HOMES[home])
    if home == "no letters":  # which leads to the top, where root may write
        monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != Path("/"))
    (homeless.parent / "cat.jpg").write_bytes(jpeg(1, 20, 24))
    source, run = str(make_tree(homeless.parent / "in", SOURCE)), str(unbroken)
    shutil.copytree(unbroken, homeless.parent / "run")
    for command in (
        ["data", "import", source, "--name", "photos"],
        ["data", "list"],
        ["info", "--preset", "demo"],
        ["info", "--workdir", run],
        ["evaluate", "--workdir", run, "--at", "last"],
        ["project", "--workdir", "run", "--image", "cat.jpg", "--layer", "conv1", "--map", "0"],
    ):
        assert main(command) == 0, command
    said = capsys.readouterr()
    own = homeless / f"zfjax-{os.getuid()}"
    assert said.err.count(f"data sets lie in {own}, which may be emptied") == 2
    assert "photos 1.0.0" in said.out and finding.data_home() == own
    assert own.stat().st_mode & 0o777 == 0o700
    assert open_dataset("photos", finding.data_home()).count("train") == 2
    assert os.environ["MPLCONFIGDIR"] == str(own / "matplotlib")


def test_a_home_that_can_be_written_is_used(homeless, monkeypatch):
    home = homeless.parent / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    assert finding.data_home() == home / ".cache" / "zfjax"
    assert main(["info", "--preset", "demo"]) == 0 and "MPLCONFIGDIR" not in os.environ
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "other"))
    assert finding.data_home() == home / "other" / "zfjax"
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert finding.data_home() == homeless / f"zfjax-{os.getuid()}"
    (home / "other" / "zfjax" / "photos").mkdir(parents=True)
    assert finding.data_home() == home / "other" / "zfjax", "what can only be read is read"
    assert not can_be_made(home / "new") and not list(home.glob("new"))


def test_another_users_temporary_folder_is_not_trusted(homeless, monkeypatch, capsys):
    own = temporary_home()
    own.chmod(0o777)
    assert main(["data", "list"]) == 1
    assert "is another user's; set ZFJAX_DATA" in capsys.readouterr().err
    own.rmdir()
    own.symlink_to(homeless.parent)
    with pytest.raises(ZfjaxError, match="is another user's"):
        finding.data_home()
    monkeypatch.setattr(tempfile, "tempdir", "/dev/null")
    with pytest.raises(ZfjaxError, match="set ZFJAX_DATA"):
        finding.data_home()


def test_the_drawings_are_drawn_without_a_home(homeless, monkeypatch):
    drawn = []

    def draw(folder, progress):
        drawn.append(folder)
        return "x", folder

    monkeypatch.setattr("zfjax.inputs.ensure_scenes", draw)
    config = configs.from_json(configs.to_json(zfjax.PRESETS["demo"]))
    with pytest.raises(ZfjaxError, match="There is no data set 'x'"):
        open_data(config)
    assert drawn == [homeless / f"zfjax-{os.getuid()}"]


def output(encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8"])
def test_letters_that_output_cannot_show_are_escaped(tmp_path, monkeypatch, encoding):
    files = SOURCE | {"train/größe 猫/ä 猫.jpg": b"", "train/größe 猫/\udcff.jpg": b""}
    source = make_tree(tmp_path / "in", files)
    streams = output(encoding), output(encoding)
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    status = main(["data", "import", str(source), "--name", "x", "--data-dir", str(tmp_path / "d")])
    missing = main(["info", "--workdir", str(tmp_path / "größe 猫 \udcff")])
    monkeypatch.undo()
    for stream in streams:
        stream.flush()
    printed, said = (stream.buffer.getvalue().decode(encoding) for stream in streams)
    assert status == 0 and missing == 1
    shown = "ä 猫.jpg".encode(encoding, "backslashreplace").decode(encoding)
    assert "train: 2 images" in printed and shown in printed
    assert "größe 猫".encode(encoding, "backslashreplace").decode(encoding) in said


def test_class_names_that_are_no_letters_reach_every_page(tmp_path, data_dir):
    own_dir = shutil.copytree(data_dir, tmp_path / "data")
    altered_dir = altered(own_dir, "small", "odd", lambda split, number: {})
    [metadata] = (altered_dir / "odd").glob("*/metadata.json")
    record = json.loads(metadata.read_text())
    record["class_names"] = ["half \ud83d", "\udcff", "whole \U0001f600"]
    metadata.write_text(json.dumps(record))
    names = open_dataset("odd", altered_dir).class_names
    assert names == ("half \\ud83d", "\\udcff", "whole \U0001f600")
    "".join(names).encode("utf-8")


@pytest.mark.slow
def test_output_that_is_full_closed_or_unread_is_no_traceback(tmp_path, monkeypatch, capsys):
    read, write = os.pipe()
    os.close(read)
    for handle, status, words in (
        (open("/dev/full", "w"), 1, "the disk is full"),
        (os.fdopen(write, "w"), 1, ""),
        (None, 0, ""),
    ):
        monkeypatch.setattr(sys, "stdout", handle)
        assert main(["info", "--preset", "demo"]) == status
        said = capsys.readouterr().err
        assert words in said and "Traceback" not in said and (words or not said)
        with contextlib.suppress(OSError):
            sys.stdout.close()
    monkeypatch.setattr(sys, "stderr", None)
    assert main(["info", "--workdir", str(tmp_path / "nothing")]) == 1
    sys.stderr.close()


@pytest.mark.slow
def test_the_program_itself_ends_well_whatever_its_output(tmp_path):
    """What Python does as it ends: one process for each kind of output."""
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}
    environment.pop("PYTHONUNBUFFERED", None)
    program = f"{sys.executable} -m zfjax"
    for line, status, words in (
        ("--help > /dev/full", 1, "zfjax: Could not write what the command prints: the disk is"),
        ("info --preset demo > /dev/full", 1, "zfjax: Could not "),
        ("info --preset demo >&-", 0, ""),
        ("info --workdir größe", 1, "zfjax: The path 'gr"),
    ):
        ended = subprocess.run(
            f"{program} {line}", shell=True, capture_output=True, env=environment, cwd=tmp_path
        )
        said = ended.stderr.decode()
        assert ended.returncode == status and said.startswith(words), (line, said)
        assert "Traceback" not in said and "Exception ignored" not in said
        assert bool(said) == bool(words)


LONG = "ä" * 125  # 250 bytes
NAMES = (
    LONG + ".jpg",
    "x" * 251 + ".jpg",
    "a\nb\t\x1b[31m.jpg",
    "-o.jpg",
    "$x$ {y} 'z'.jpg",
    "...",
)


@pytest.mark.parametrize("name", [*NAMES, b"\xff\xfe.jpg".decode("utf-8", "surrogateescape")])
def test_a_picture_of_any_name_gives_a_strip(tmp_path, unbroken, monkeypatch, capsys, name):
    run = tmp_path / "run"
    shutil.copytree(unbroken, run)
    (tmp_path / name).write_bytes(jpeg(1, 20, 24))
    monkeypatch.chdir(tmp_path)
    command = ["project", "--workdir", str(run), "--layer", "conv1", "--map", "0", "--at", "last"]
    assert main([*command, f"--image={name}"]) == 0
    [strip] = (run / "projections").iterdir()
    assert len(os.fsencode(strip.name)) <= 255 and strip.name.isprintable()
    assert str(strip) == capsys.readouterr().out.split("\n")[-2]
    out = "o" * 251 + ".png"
    assert main([*command, f"--image={name}", "--out", out]) == 0 and Path(out).exists()
    assert main([*command, f"--image={name}", "--out", "o" * 252 + ".png"]) == 1
    said = capsys.readouterr().err
    assert "takes at most 255 bytes" in said


def test_a_name_that_is_shortened_stays_one_of_its_own(tmp_path):
    names = [f"{'ä' * 200}{n}" for n in range(3)]
    short = [fitting(name, 100) for name in names]
    assert len(set(short)) == 3 and all(len(name.encode()) <= 100 for name in short)
    assert fitting("ä" * 50, 100) == "ä" * 50
    write_text(tmp_path / ("y" * 255), "whole")
    assert [path.name for path in tmp_path.iterdir()] == ["y" * 255]


def test_an_evolutions_name_is_checked_before_anything_is_searched(unbroken, capsys):
    assert main(["evolve", "--workdir", str(unbroken), "--maps", "2", "--name", "x" * 101]) == 1
    assert "longer than 100 letters" in capsys.readouterr().err


MARKED = {
    "UTF-8": codecs.BOM_UTF8,
    "UTF-16, little-endian": codecs.BOM_UTF16_LE,
    "UTF-16, big-endian": codecs.BOM_UTF16_BE,
}


def marked(kind: str, text: str) -> bytes:
    encoding = {"UTF-8": "utf-8", "UTF-16, little-endian": "utf-16-le"}.get(kind, "utf-16-be")
    return MARKED[kind] + text.encode(encoding)


@pytest.mark.parametrize("kind", MARKED)
def test_a_byte_order_mark_is_no_damage(tmp_path, data_dir, unbroken, kind):
    config = make_config(data_dir)
    (tmp_path / "c.json").write_bytes(marked(kind, json.dumps(configs.to_json(config))))
    assert configs.from_json(read_json(tmp_path / "c.json")) == config
    assert main(["train", "--config", str(tmp_path / "c.json"), "--help"]) == 0
    run = shutil.copytree(unbroken, tmp_path / "run")
    text = (run / "config.json").read_text(encoding="utf-8")
    (run / "config.json").write_bytes(marked(kind, text))
    assert load_run(run).config == load_run(unbroken).config
    source = make_tree(tmp_path / "in", {f"{name}/1.jpg": jpeg(1) for name in ("n01", "n02")})
    for table in ("classes.tsv", "words.txt"):
        (source / table).write_bytes(marked(kind, "n01\tgroße Katze\r\nn02\tHund\r\n"))
        stem = table.partition(".")[0]
        assert list(import_images(source, stem, tmp_path / "d").counts["train"]) == [
            "große Katze",
            "Hund",
        ]
        (source / table).unlink()


def test_metrics_that_an_editor_has_marked(tmp_path, unbroken):
    text = (unbroken / "metrics.jsonl").read_bytes()
    (tmp_path / "metrics.jsonl").write_bytes(codecs.BOM_UTF8 + text)
    assert read_metrics(tmp_path / "metrics.jsonl") == read_metrics(unbroken / "metrics.jsonl")
    (tmp_path / "metrics.jsonl").write_bytes(b"\xff" + text)
    with pytest.raises(ZfjaxError, match="is damaged"):
        read_metrics(tmp_path / "metrics.jsonl")


@pytest.mark.parametrize("text", [b"\xff{}", b"{", b"\xef\xbb\xbf", b"", b"[" * 100_000])
def test_what_is_no_json_is_still_damage(tmp_path, text):
    (tmp_path / "x.json").write_bytes(text)
    with pytest.raises(ZfjaxError, match="is damaged"):
        read_json(tmp_path / "x.json")


def test_a_tiff_is_projected_as_its_png_is(tmp_path, unbroken):
    seen = []
    for kind in ("PNG", "TIFF", "PPM"):
        (tmp_path / f"x.{kind}").write_bytes(encoded(picture(1, 20, 24), kind))
        [shot] = zfjax.project(unbroken, tmp_path / f"x.{kind}", "conv1", 0, at=["last"])
        seen.append(shot.tile.projection)
    assert np.array_equal(seen[0], seen[1]) and np.array_equal(seen[0], seen[2])
