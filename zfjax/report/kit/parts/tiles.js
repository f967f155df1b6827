// ---- tiles: one picture of a sheet of many

// Moves a sheet so that its picture number `index` shows through the tile, whatever the tile's size: the offset in per
// cent is of what is left over beside the tile, hence the - 1.
function aim(tile, sheet, index) {
  const along = (cell, count, ratio) => (count * ratio === 1 ? 0 : (100 * cell * ratio) / (count * ratio - 1));
  const row = Math.floor(index / sheet.columns), column = index % sheet.columns;
  tile.style.backgroundPosition =
    along(column, sheet.columns, sheet.ratio[1]) + "% " + along(row, sheet.rows, sheet.ratio[0]) + "%";
}

function sheetTile(sheet, index, kind) {
  const tile = make("span", `tile ${kind || ""} s${sheet.number}`);
  aim(tile, sheet, index);
  return tile;
}
