"""How fast a page is that shows every map: first picture, slider step, the folder beside it.

A made-up run (tests/synthetic_run.py) of as many maps as the paper's ZFNet has, 96 + 256 + 384 +
384 + 256, at 20 epochs and more; ``--size`` 64 (default) or 224 pixels; ``--tiny``: 12 maps of
each layer, 4 epochs. Its report is written, then opened in a headless Chromium from the disk.

- *First picture*: from the start of the navigation until the pictures of all cells in the window
  are decoded and a frame has been drawn.
- *Slider step*: from the call that moves the slider until the frame after it, over all epochs, once
  before its pictures were ever shown and twice after.

Command: ``python experiments/benchmarks/page.py [--size 224] [--tiny] [--folder DIR]``;
``--folder`` keeps the run, to measure again without making it. Results: README.md.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from tests.browser import Browser, find_browser
from tests.synthetic_run import Shape, make_run
from zfjax import presets
from zfjax.network.named import small_zfnet
from zfjax.report.page import write_report
from zfjax.run.folder import load_run

FIRST = """(async () => {
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  const seen = ({ top, bottom }) => bottom > 0 && top < innerHeight;
  const tiles = [...near].flatMap((cell) => [...cell.querySelectorAll(".tile")])
    .filter((tile) => seen(tile.getBoundingClientRect()));
  const address = (tile) => getComputedStyle(tile).backgroundImage.slice(5, -2);
  const addresses = new Set(tiles.map(address));
  await Promise.all([...addresses].map((address) => {
    const picture = new Image(); picture.src = address; return picture.decode();
  }));
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  return [performance.now(), tiles.length, near.size, cells.length];
})()"""
STEPS = """(async () => {
  const times = [];
  for (let at = 0; at <= last; at += 1) {
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    const begun = performance.now();
    go(at);
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    times.push(performance.now() - begun);
  }
  return times;
})()"""


def main() -> None:
    """Makes the run, its report, and measures the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, choices=(64, 224), default=64)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if find_browser() is None:
        sys.exit("There is no Chromium on PATH.")
    with tempfile.TemporaryDirectory() as temporary:
        measure_page(options, options.folder or Path(temporary) / "run")


def measure_page(options: argparse.Namespace, folder: Path) -> None:
    """Prints how long the report takes, what it weighs, and how fast it is."""
    began = time.monotonic()
    if (folder / "evolution" / "meta.json").exists():
        run = load_run(folder)
    else:
        run = make_run(folder, shape_of(options))
    print(f"made-up run: {time.monotonic() - began:.0f} s")
    began = time.monotonic()
    page = write_report(run)
    evolution = run.evolution()
    maps = sum(len(evolution.maps(layer)) for layer in evolution.layers)
    print(
        f"report of {maps:,} maps x {len(evolution.steps)} epochs:"
        f" {time.monotonic() - began:.0f} s, page {page.stat().st_size / 1e6:.2f} MB"
    )
    for beside in sorted(path for path in page.parent.iterdir() if path.is_dir()):
        files = list(beside.iterdir())
        size = sum(path.stat().st_size for path in files)
        data = (beside / "data.js").stat().st_size
        print(f"{beside.name}: {len(files):,} files, {size / 1e6:.0f} MB, data {data / 1e6:.1f} MB")
    look(page)


def shape_of(options: argparse.Namespace) -> Shape:
    """The made-up run's."""
    name = "imagenet"
    if options.size == 64:
        name = "full-64"
        model = small_zfnet(name, input_size=(64, 64), width=1.0, head=128, classes=10, dropout=0.5)
        presets.PRESETS[name] = replace(presets.preset("demo"), preset=name, model=model)
    if options.tiny:
        return Shape(preset=name, epochs=3, maps=12, images=500)
    return Shape(preset=name, epochs=19, maps=None, images=400)


def look(page: Path, rounds: int = 5) -> None:
    """Opens the page and moves its slider; prints medians and the slowest."""
    firsts, fresh, again = [], [], []
    with Browser(1280, 900) as browser:
        for _ in range(rounds):
            browser.open(Path("/dev/null"))
            browser.open(page)
            first, tiles, near, cells = browser.run(FIRST)
            firsts.append(first)
            fresh += browser.run(STEPS)
            again += browser.run(STEPS) + browser.run(STEPS)
        assert browser.errors == [], browser.errors
    print(f"{cells:,} cells, {near} near the window, {tiles} tiles in it")
    print(f"first picture: {statistics.median(firsts):.0f} ms, slowest {max(firsts):.0f} ms")
    for words, times in (("first time", fresh), ("again", again)):
        slow = sorted(times)[int(0.95 * len(times))]
        print(
            f"slider step, {words}: {statistics.median(times):.0f} ms, 95% below {slow:.0f} ms,"
            f" slowest {max(times):.0f} ms"
        )


if __name__ == "__main__":
    main()
