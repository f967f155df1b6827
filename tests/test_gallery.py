"""The gallery: two of its files at their tiny size, and what all of them share."""

import re
import runpy
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from experiments import gallery

ROOT = Path(__file__).parents[1]


def test_pictures_are_small_whatever_is_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(gallery, "BYTES", gallery.BYTES // 8)  # little noise is enough
    noise = np.random.default_rng(0).integers(0, 256, (100, 2000, 3), np.uint8)
    path = gallery.save_picture(Image.fromarray(noise), tmp_path / "new", "noise")
    assert path == tmp_path / "new" / "noise.png"
    assert path.stat().st_size <= gallery.BYTES
    figure = Figure(figsize=(8, 4))
    figure.add_subplot().plot([0, 1])
    with Image.open(gallery.save_picture(figure, tmp_path, "line")) as image:
        assert image.mode == "P" and image.width == gallery.WIDTH


def test_flags_and_what_is_no_run(tmp_path):
    assert gallery.arguments("Words.\nMore.", []).workdir == Path("runs/demo")
    options = gallery.arguments("Words.", ["--tiny", "--out", str(tmp_path)])
    assert options.workdir is None and options.tiny and options.out == tmp_path
    with pytest.raises(SystemExit, match="is not a run.*zfjax demo --workdir"):
        gallery.run_of(gallery.arguments("Words.", ["--workdir", str(tmp_path)]))
    with pytest.raises(SystemExit, match="there is no ablation"):
        gallery.grid_of(gallery.arguments("Words.", ["--workdir", str(tmp_path)]), {})


def test_every_file_says_how_it_was_made_and_stands_in_the_gallery():
    told = (ROOT / "experiments" / "README.md").read_text()
    files = gallery.gallery_files()
    assert {"fig1_switches.py", "table3_layers.py"} <= {path.name for path in files}
    beside = [ROOT / "experiments" / name for name in ("own_measure.py", "evolution_scenes.py")]
    for path in (*files, *beside):
        words = path.read_text().split('"""')[1]
        for head in ("Command:", "Hardware:", "Time:", "Result:"):
            assert f"\n{head} " in words, (path.name, head)
        assert path.name in told, path.name
    for name in re.findall(r"\(figures/([\w.]+)\)", told):
        shown = ROOT / "experiments" / "figures" / name
        if shown.is_file() and name != "evolution_scenes.png":
            assert shown.stat().st_size <= gallery.BYTES
            with Image.open(shown) as image:
                assert image.width <= gallery.WIDTH


@pytest.mark.slow
def test_two_files_of_the_gallery_at_their_tiny_size(made, tmp_path, capsys):
    """Two that read an evolution alone; what trains and measures its own runs in make proof."""
    for name in ("fig2_features", "fig4_evolution"):
        program = runpy.run_path(str(ROOT / "experiments" / f"{name}.py"))
        program["main"](["--tiny", "--workdir", str(made.run.folder), "--out", str(tmp_path)])
        assert (tmp_path / f"{name}.png").stat().st_size <= gallery.BYTES
    assert "conv1, map" in capsys.readouterr().out
