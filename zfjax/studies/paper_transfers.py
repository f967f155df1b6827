"""The paper's statements on other data sets (Tables 4 to 6, Fig. 9), from what ``zfjax transfer``
has saved. No JAX.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from zfjax.errors import ZfjaxError, quoted
from zfjax.files import read_json
from zfjax.studies.paper_beyond import Beyond, beyond_row
from zfjax.studies.paper_numbers import OF_SHARES, Reading
from zfjax.studies.paper_rows import ClaimRow, missing_row

TRANSFER = {
    "table4-caltech101": Beyond(
        "table4-caltech101",
        "Table 4, section 5.2",
        "Caltech-101: features trained elsewhere beat a network trained from scratch",
        "86.5 ± 0.5 against 46.5 ± 1.7 % (30 images a class)",
        "mean accuracy of the classes, pretrained minus scratch",
        unit="points",
    ),
    "table5-caltech256": Beyond(
        "table5-caltech256",
        "Table 5, section 5.2",
        "Caltech-256: features trained elsewhere beat a network trained from scratch",
        "74.2 ± 0.3 against 38.8 ± 1.4 % (60 images a class)",
        "mean accuracy of the classes, pretrained minus scratch",
        unit="points",
    ),
    "table6-voc": Beyond(
        "table6-voc",
        "Table 6, section 5.2",
        "Pascal VOC 2012: the features serve for pictures of several objects, though less well",
        "79.0 % against the 82.2 % of the best system",
        "mean accuracy of the classes, pretrained minus scratch",
        unit="points",
    ),
    "fig9-few": Beyond(
        "fig9-few",
        "Fig. 9, section 5.2",
        "A few images a class with these features beat many without them",
        "6 images a class beat the best earlier system at 60",
        "pretrained on the fewest images minus scratch on the most",
        unit="points",
    ),
}
TRANSFER_COMMAND = (
    "zfjax transfer --workdir RUN --to NAME; then zfjax paper --workdir RUN --transfer NAME"
)
HARDLY = 3.0
"""Times chance, below which a control has hardly learnt anything."""
TRANSFER_FLAGS = {
    "--images-per-class": "images_per_class",
    "--folds": "folds",
    "--test-per-class": "test_per_class",
    "--seed": "seed",
    "--layer": "layer",
    "--steps": "training_steps",
    "--batch-size": "batch_size",
    "--learning-rates": "learning_rates",
}


@dataclass(frozen=True)
class Transferred:
    """What RUN/transfer says of one data set."""

    name: str
    meta: dict[str, Any]
    table: pa.Table

    @property
    def stem(self) -> str:
        """The data set's name."""
        return str((self.meta.get("asked") or {}).get("to", self.name))

    def differences(self) -> list[dict[str, Any]]:
        """Pretrained minus scratch at the last epoch, by images a class."""
        table = self.table.filter(
            pc.and_(pc.equal(self.table["arm"], "difference"), pc.is_null(self.table["fold"]))
        )
        rows: list[dict[str, Any]] = table.to_pylist()
        last = max((row["step"] for row in rows), default=None)
        shown = [row for row in rows if row["step"] == last]
        return sorted(shown, key=lambda row: row["images_per_class"])

    @property
    def without_control(self) -> str:
        """Why no network trained from scratch is beside it, where none is."""
        without = f"The transfer to {self.name} has no network trained from scratch beside it"
        if self.meta.get("scratch") is None:
            return f"{without}."
        if self.meta["scratch"]:
            return f"{without}: a network that zfjax has not trained has no recipe to train it by."
        return f"{without}: it was made with --no-scratch, which the command here leaves out."

    def weak_control(self, of: Mapping[str, Any]) -> str:
        """A warning where the network from scratch of that difference has hardly learnt anything:
        then little follows from beating it.
        """
        for row in self.table.to_pylist():
            same = row["fold"] is None and row["images_per_class"] == of["images_per_class"]
            chance = 1 / row["classes"] if row["classes"] else 0.0
            if same and row["arm"] == "scratch" and row["value"] < HARDLY * chance:
                return (
                    f" A weak control: the network from scratch is right on {row['value']:.1%},"
                    f" where chance gives {chance:.1%}; more --steps train it longer."
                )
        return ""


def open_transfers(run_folder: Path, names: Sequence[str]) -> list[Transferred]:
    """The finished transfers of a run, or those named. Raises ZfjaxError for one that was not run
    and one that is damaged.
    """
    folder = run_folder / "transfer"
    there = sorted(path.stem for path in folder.glob("*.json"))
    opened = []
    for name in dict.fromkeys(names or there):
        if name not in there:
            known = f"; finished are {', '.join(there)}" if there else ""
            raise ZfjaxError(
                f"--transfer {name}: {run_folder} was not transferred to it{known}. Run `zfjax"
                f" transfer --workdir {quoted(run_folder)} --to {name}` first."
            )
        meta, path = read_json(folder / f"{name}.json"), folder / f"{name}.parquet"
        if not isinstance(meta, dict):
            raise ZfjaxError(
                f"{folder / name}.json is no record of a transfer; delete it and run the same"
                " `zfjax transfer` again: finished folds are kept."
            )
        try:
            table = pq.read_table(path)
        except (OSError, pa.ArrowException):
            raise ZfjaxError(
                f"{path} is missing or damaged; delete {name}.json there and run `zfjax transfer"
                f" --workdir {quoted(run_folder)} --to {name}` again."
            ) from None
        opened.append(Transferred(name, meta, table))
    return opened


def transfer_statements(transfers: Sequence[Transferred]) -> Iterator[ClaimRow]:
    """The tables and the figure of transfer: for each data set that the features were taken to, or
    how to fill them.
    """
    few = TRANSFER["fig9-few"]
    known: set[str] = set()
    for transfer in sorted(transfers, key=lambda each: not each.differences()):
        statement = _table_of(transfer.name)
        command = transfer_command(transfer.name, {**transfer.meta, "scratch": True})
        picture = f"transfer/{transfer.name}.png"
        rows = transfer.differences()
        if not rows:  # heads alone beat nothing: told where no other transfer fills the table
            for empty in (statement, few):
                if empty.id not in known:
                    known.add(empty.id)
                    yield missing_row(empty, command, transfer.without_control)
            continue
        if statement.id in known:  # a second transfer to a set of that kind
            words = f"{statement.claim} ({transfer.name})"
            statement = replace(statement, id=f"{statement.id}-{transfer.name}", claim=words)
        known.add(statement.id)
        row = rows[-1]
        size = row["images_per_class"]
        note = f"{size} image{'s' * (size != 1)} a class.{transfer.weak_control(row)}"
        number = Reading(
            *(row["value"], row["low"], row["high"], row["n"], "folds"), note=note, limits=OF_SHARES
        )
        yield beyond_row(statement, number, command, picture)
        figures = (transfer.meta.get("figures") or {}).get("few_minus_scratch")
        about = few if few.id not in known else replace(few, id=f"{few.id}-{transfer.name}")
        about = replace(about, claim=f"{transfer.name}: {few.claim[:1].lower()}{few.claim[1:]}")
        known.add(about.id)
        if figures and figures.get("few", 0) < figures.get("many", 1):
            value, low, high, n = (figures[end] for end in ("value", "low", "high", "n"))
            gain = Reading(value, low, high, n, "folds", limits=OF_SHARES)
            yield beyond_row(about, gain, command, picture)
        else:
            why = "One number of images a class has no curve."
            yield missing_row(about, _curve_command(transfer), why)
    for name, table in TRANSFER.items():
        if name not in known:
            yield missing_row(table, TRANSFER_COMMAND)


def transfer_command(stem: str, meta: Mapping[str, Any]) -> str:
    """What a person types for this very transfer: with other settings it is refused. ``stem``: of
    its files.
    """
    asked = meta.get("asked")
    words = ["zfjax", "transfer", "--workdir", "RUN", "--to", asked["to"] if asked else stem]
    if asked:
        for flag, name in TRANSFER_FLAGS.items():
            values = asked[name] if isinstance(asked[name], list) else [asked[name]]
            words += [
                flag,
                *(f"{value:g}" if isinstance(value, float) else str(value) for value in values),
            ]
        words += [
            "--split",
            asked["data"]["split"],
            "--at",
            *(f"{each:g}" for each in meta["epochs"]),
        ]
        words += ["--remove-overlaps"] * bool(asked["remove_overlaps"])
        words += ["--no-scratch"] * (not meta.get("scratch", True))
        name = stem.removeprefix(asked["to"].replace("/", "-")).removeprefix("-")
        words += ["--name", name] if name else []
    return shlex.join(words)


def _curve_command(transfer: Transferred) -> str:
    """A transfer like this one, of fewer images a class too, beside it."""
    asked = transfer.meta.get("asked")
    if asked is None:
        return TRANSFER_COMMAND
    most = max(asked["images_per_class"])
    sizes = [max(1, most // 5), most] if most > 1 else [1, 2]
    meta = {**transfer.meta, "scratch": True, "asked": {**asked, "images_per_class": sizes}}
    return transfer_command(f"{transfer.name}-curve", meta)


def _table_of(name: str) -> Beyond:
    """The paper's table of a data set of that name, or one that stands for all of them."""
    plain = "".join(letter for letter in name.lower() if letter.isalnum())
    for known, table in (("caltech101", "table4-caltech101"), ("caltech256", "table5-caltech256"),
                         ("voc", "table6-voc")):  # fmt: skip
        if known in plain:
            return TRANSFER[table]
    example = TRANSFER["table4-caltech101"]
    return Beyond(
        f"table4-{name}",
        "Tables 4 to 6, section 5.2",
        f"{name}: features trained elsewhere beat a network trained from scratch",
        f"Caltech-101: {example.published}",
        example.number,
        unit=example.unit,
    )
