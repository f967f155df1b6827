"""The rooms, by their imports: one way, cheap where they should be, and with names of their own."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "zfjax"
LINE = (
    "errors",
    "values",
    "spelling",
    "files",
    "homes",
    "signals",
    "progress",
    "waiting",
    "processes",
    "devices",
    "joining",
    "network",
    "keeping",
    "building",
    "config",
    "fields",
    "unknown_fields",
    "presets",
    "grids",
    "data",
    "run",
    "inputs",
    "subject",
    "adopting",
    "reopening",
    "features",
    "training",
    "report",
    "measures",
    "studies",
    "commands",
)
"""A room may import those before it; the files of a wing are one room."""
APART = {("training", "features"), ("report", "features"), ("report", "training")}
"""(wing, wing) of which the first does not know the second, though it stands after it."""
NO_JAX = (
    "waiting",
    "spelling",
    "errors",
    "values",
    "files",
    "homes",
    "building",
    "config",
    "presets",
    "signals",
    "progress",
    "network.architecture",
    "network.named",
    "run.naming",
    "run.steps",
    "run.checkpoint_faults",
    "run.checkpoint_names",
    "run.folder",
    "run.grid_folders",
    "run.adopted",
    "run.starts",
    "run.evolution",
    "run.evolution_files",
    "run.evolution_record",
    "run.measured",
    "run.probe",
    "run.summary",
    "run.info",
    "network.layers",
    "measures.agreeing",
    "measures.averages",
    "measures.filter_figure",
    "measures.linear_probes",
    "measures.matching",
    "measures.occlusion_figure",
    "measures.probe_images",
    "measures.similarity",
    "measures.spectra",
    "measures.trends",
    "measures.verdicts",
    "features.statistics",
    "features.units",
    "training.tensorboard",
    "training.schedule",
    "fields",
    "unknown_fields",
    "grids",
    "keeping",
    "run.sizes",
    "data.slices",
    "network.altered",
    "studies.intervals",
    "studies.cells",
    "studies.cell_labels",
    "studies.cell_rows",
    "studies.claims",
    "studies.contrasts",
    "studies.evolutions",
    "studies.feature_charts",
    "studies.findings",
    "studies.grid_notes",
    "studies.grid_page",
    "studies.other_pairs",
    "studies.paper_claim_rows",
    "studies.grid_view",
    "studies.portraits",
    "studies.tradeoff",
    "studies.training_gap",
    "studies.verdict_marks",
    "studies.claiming",
    "studies.compare_page",
    "studies.compare_words",
    "studies.compared",
    "studies.comparing",
    "studies.pair_pictures",
    "studies.pairing",
    "studies.same_images",
    "studies.sides",
    "studies.costs",
    "studies.measured",
    "studies.plans",
    "studies.planning",
    "studies.results",
    "studies.standings",
    "studies.tables",
    "studies.folds",
    "studies.transferred",
    "studies.transfer_rows",
    "commands.studies",
    "commands.flags",
    "data.import_options",
    "commands.arguments",
    "commands.cli",
    "commands.comparisons",
    "commands.data",
    "commands.demonstration",
    "commands.evaluation",
    "commands.features",
    "commands.projections",
    "commands.information",
    "commands.measures",
    "commands.reports",
    "commands.training",
    "commands.transfers",
    "commands.weights",
)
KNOWN_SHARED: set[tuple[str, str]] = set()
"""(room, function) whose function is called like some module. None is a public name of zfjax; add
no more."""


def rooms():
    return {
        path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", "."): path
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def imported(path, top_only=False):
    """Dotted names below zfjax that a file imports: the rooms, and the names taken from them."""
    tree = ast.parse(path.read_text())
    found = set()
    for node in tree.body if top_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {
                alias.name.removeprefix("zfjax.")
                for alias in node.names
                if alias.name.startswith("zfjax")
            }
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            if module == "zfjax":
                found |= {alias.name for alias in node.names}
            elif module.startswith("zfjax."):
                found.add(module.removeprefix("zfjax."))
    return found


def test_every_room_stands_in_the_line():
    assert {room.split(".")[0] for room in rooms()} == {*LINE, "__init__", "__main__"}


@pytest.mark.parametrize("room", LINE)
def test_no_arrow_points_back(room):
    for name, path in rooms().items():
        if name.split(".")[0] == room:
            for other in {below.split(".")[0] for below in imported(path)} - {room}:
                assert LINE.index(other) < LINE.index(room), f"{name} imports {other}"
                assert (room, other) not in APART, f"{name} imports {other}"


def test_the_kit_knows_nothing_of_its_pages():
    """It makes a page of anything: runs and evolutions are its pages' business."""
    kit = {name: path for name, path in rooms().items() if name.startswith("report.kit.")}
    assert len(kit) > 5
    for name, path in kit.items():
        for other in imported(path):
            assert other.startswith("report.kit"), f"{name} imports {other}"


def test_no_circle():
    known = rooms()
    arrows = {
        room: {name for name in imported(path) if name in known} for room, path in known.items()
    }
    done, open_ = set(), []

    def visit(room):
        if room in done:
            return
        assert room not in open_, " -> ".join([*open_[open_.index(room) :], room])
        open_.append(room)
        for name in sorted(arrows[room]):
            visit(name)
        open_.pop()
        done.add(room)

    for room in arrows:
        visit(room)
    assert len(done) == len(known)


def test_every_import_of_a_room_exists():
    known = rooms()
    packages = {
        path.parent.relative_to(PACKAGE).as_posix().replace("/", ".") for path in known.values()
    }
    for path in known.values():
        for name in imported(path):
            assert name in known or name in packages, f"{path} imports zfjax.{name}"


def test_what_only_reads_imports_no_jax():
    names = [
        *NO_JAX,
        *(room for room in rooms() if room.startswith("report.") and not room.endswith("__init__")),
    ]
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module('zfjax.' + name)\n"
        "    assert not {'jax', 'flax', 'orbax', 'grain'} & set(sys.modules), name\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, *names], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 0, ended.stderr


def test_importing_zfjax_starts_nothing():
    code = (
        "import sys, zfjax\nassert not {'jax', 'matplotlib', 'grain'} &"
        " set(sys.modules)\nzfjax.load_run"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr


def test_only_one_room_knows_orbax():
    knowing = set()
    for room, path in rooms().items():
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] == "orbax" for name in names):
                knowing.add(room)
    assert knowing == {"run.checkpoint"}


def test_modules_and_public_functions_share_no_name():
    modules = {room.split(".")[-1] for room in rooms()}
    shared = set()
    for room, path in rooms().items():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in modules:
                shared.add((room, node.name))
    assert shared <= KNOWN_SHARED, (
        f"a function or class is called like a module: {sorted(shared - KNOWN_SHARED)}"
    )
    public = ast.parse((PACKAGE / "__init__.py").read_text())
    homes = next(
        node.value
        for node in public.body
        if isinstance(node, ast.Assign) and node.targets[0].id == "_HOMES"
    )
    assert not {key.value for key in homes.keys} & modules


def test_public_names_are_what_they_say():
    code = (
        "import sys, zfjax\nassert set(zfjax.__all__) <= set(dir(zfjax))\nfor name in"
        " zfjax.__all__:\n    value = getattr(zfjax, name)\n    assert not isinstance(value,"
        " type(sys)), name\ntry:\n    zfjax.nothing\nexcept AttributeError:\n    pass\nelse:\n   "
        " raise SystemExit('no error')\nimport jax\nfrom jax._src import xla_bridge\nassert not"
        " xla_bridge.backends_are_initialized()\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 0, ended.stderr
