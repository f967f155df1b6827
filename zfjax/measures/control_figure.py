"""Projections beside their controls: the picture of the measure ``controls``. No JAX."""

from __future__ import annotations

from zfjax.report.board import LINE, WIDTH, Board
from zfjax.report.controlled import COLUMNS
from zfjax.report.kit.style import QUIET, TEXT_SIZE, quiet_style, wrap
from zfjax.report.kit.wording import epoch_name, plain
from zfjax.report.pictures import to_bytes
from zfjax.run.measured import Measured

MARGIN, LEFT, GAP = 24, 250, 14


@quiet_style()
def figure_of_controls(measured: Measured) -> dict[str, bytes]:
    """controls-pictures.png: a row a map, a column a control, at the last epoch; {} where none
    were kept.
    """
    pictures = {name: measured.pictures(name) for name in measured.layers}
    pictures = {name: by_step for name, by_step in pictures.items() if by_step}
    if not pictures:
        return {}
    step = max(step for by_step in pictures.values() for step in by_step)
    epoch = epoch_name(dict(zip(measured.steps, measured.epochs, strict=True))[step])
    edge = (WIDTH - LEFT - MARGIN) // len(COLUMNS) - GAP
    words = (
        f"Projections at epoch {epoch} beside their controls, each on its own scale, zero mid-grey:"
        " of the unit; of another map of the layer at the same place; of the same unit down the"
        " switches of another image; of the network before training; with the layer drawn anew, and"
        " with all layers up to it. What stays in the second column is not this unit's alone."
        " Under each the cosine with the unit's own."
    )
    header, row, between = 2 * LINE + 24, edge + LINE - 8, 22
    count = sum(len(by_step[step][0]) for by_step in pictures.values() if step in by_step)
    top = header + row * count + between * len(pictures)
    board = Board(top + LINE * (len(wrap(words, WIDTH - 2 * MARGIN)) + 1))
    for column, word in enumerate(COLUMNS):
        x = LEFT + column * (edge + GAP) + edge / 2
        board.write(word, 16, x, ha="center", size=TEXT_SIZE - 0.8, weight="bold", linespacing=1.15)
    y = header
    for name, by_step in pictures.items():
        maps, pixels = by_step[step]
        board.write(plain(name, 12), y, MARGIN, weight="bold", size=TEXT_SIZE + 0.6)
        for index, map_ in enumerate(maps.tolist()):
            below = y + (LINE if index == 0 else 0)
            board.write(f"map {map_}", below, MARGIN, color=QUIET, size=TEXT_SIZE - 0.8)
            width = pixels.shape[2] // len(COLUMNS)
            for column in range(len(COLUMNS)):
                tile = pixels[index][:, column * width : (column + 1) * width]
                x = LEFT + column * (edge + GAP)
                if tile.any():
                    board.tile(to_bytes(tile, 1.0), y, x, edge)
                    _likeness(board, measured, (name, step, map_, column), (y + edge + 2, x))
                else:
                    board.dead(y, x, edge, edge, "none")
            y += row
        y += between
    board.caption(words, top + 14, MARGIN, MARGIN)
    stem = "controls-pictures"
    return {f"{stem}.png": board.files(stem)[f"{stem}.png"]}


def _likeness(
    board: Board, measured: Measured, which: tuple[str, int, int, int], corner: tuple[float, float]
) -> None:
    """The cosine of a control with the unit's own projection, under its picture."""
    layer, step, map_, column = which
    deepest = [name for name in measured.quantities() if name.startswith("cosine_randomised_")]
    there = [name for name in deepest if step in measured.of_layer(name, layer)]
    names = (None, "cosine_swapped", "cosine_switches", "cosine_initial", "cosine_randomised_1")
    quantity = there[-1] if column == len(names) else names[column]
    if quantity is not None:
        value = measured.of_maps(quantity, layer)[step][map_]
        board.write(f"{value:.2f}", *corner, color=QUIET, size=TEXT_SIZE - 1.6)
