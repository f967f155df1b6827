"""A coarse search, ranked again: exact activations, an honest count of what it may have missed."""

import dataclasses
import shutil

import jax
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tests.data_helpers import jpeg, make_tree
from tests.network import linen_nets
from tests.test_adopting import Net
from tests.test_adopting import subject_of as adopted
from zfjax.commands.cli import main
from zfjax.data.dataset import open_dataset
from zfjax.data.importing import import_images
from zfjax.errors import ZfjaxError
from zfjax.features import ranking
from zfjax.features.asking import Asked, request_of
from zfjax.features.evolving import evolve
from zfjax.features.searching import search_on
from zfjax.features.statistics import statistics_arrays
from zfjax.network.precision import PRECISIONS
from zfjax.progress import tell_nobody
from zfjax.run.folder import load_run
from zfjax.subject import images_of, subject_of

pytestmark = pytest.mark.slow
IMAGES = 240


@pytest.fixture(scope="module")
def looked_at(tmp_path_factory, unbroken):
    """The small run's checkpoints on many more images than it keeps candidates."""
    folder = tmp_path_factory.mktemp("many")
    files = {f"train/{n % 3}/{n}.jpg": jpeg(7000 + n, 20, 24) for n in range(IMAGES)}
    import_images(make_tree(folder / "source", files), "many", folder / "data")
    run = load_run(unbroken)
    config = dataclasses.replace(
        run.config, data=dataclasses.replace(run.config.data, name="many", dir=str(folder / "data"))
    )
    return subject_of(run, images_of(config, open_dataset("many", folder / "data"), "train"))


def searched(subject, folder, precision, top=3):
    request = request_of(subject, Asked(top=top, search_precision=precision))
    folder.mkdir(exist_ok=True)
    if precision == "highest":
        return search_on(subject, request, folder, tell_nobody)[0], {}
    statistics, _, doubts = ranking.search_coarsely(subject, request, folder, tell_nobody)
    return statistics, doubts


def test_a_coarse_search_ranks_exact_activations_and_says_what_it_may_miss(looked_at, tmp_path):
    exact, _ = searched(looked_at, tmp_path / "exact", "highest")
    coarse, doubts = searched(looked_at, tmp_path / "coarse", "bfloat16")
    assert coarse.images == exact.images == IMAGES
    wrong = near = 0
    for step_index, step in enumerate(looked_at.steps):
        doubt = doubts[str(step)]
        lists = exact.top_value.shape[2]
        assert doubt["lists"] == lists
        assert doubt["exact"] + doubt["safe"] + doubt["near"] + doubt["silent"] == lists
        assert 0 < doubt["difference"] < 0.1, "bfloat16 rounds"
        same = (coarse.top_id[step_index] == exact.top_id[step_index]).all(axis=0)
        wrong += int((~same).sum())
        near += doubt["near"] + doubt["silent"]
        for name in ("top_value", "top_place"):
            ours, theirs = (getattr(each, name)[step_index][:, same] for each in (coarse, exact))
            np.testing.assert_array_equal(ours, theirs, err_msg=name)
    assert wrong <= near, "more lists differ than are said to be in doubt"
    assert wrong < 0.2 * len(looked_at.steps) * exact.top_value.shape[2]


def test_at_tf32_a_cpu_rounds_nothing_and_the_table_is_the_same(looked_at, tmp_path):
    exact, _ = searched(looked_at, tmp_path / "exact", "highest")
    coarse, doubts = searched(looked_at, tmp_path / "coarse", "tf32")
    for name in ("top_value", "top_id", "top_place", "low_value", "low_id", "histogram"):
        np.testing.assert_array_equal(getattr(coarse, name), getattr(exact, name), err_msg=name)
    assert all(doubt["difference"] == 0 for doubt in doubts.values())


def test_a_list_called_safe_is_right_whatever_the_noise():
    """Drawn activations and noise, map by map: no list that is called safe is wrong."""
    generator = np.random.default_rng(3)
    images, maps, top = 400, 300, 2
    values = generator.gamma(2, 1, (images, maps)).astype(np.float32)
    noise = generator.uniform(-1, 1, values.shape) * generator.uniform(0, 3, maps)
    passed = np.maximum(values + noise, 0).astype(np.float32)
    none = np.zeros((0, 1), np.int64)
    wrong = safe = 0
    for column in range(maps):
        own = values[:, [column]]

        class Exact:
            def of(self, ids, own=own):
                return np.take_along_axis(own, ids, 0), np.zeros(ids.shape, np.int32)

        ids = np.argsort(-passed[:, [column]], axis=0, kind="stable")[: ranking.WIDER * top]
        kept = {
            "top_value": np.take_along_axis(passed[:, [column]], ids, 0),
            "top_id": ids,
            "low_value": none.astype(np.float32),
            "low_id": none,
            "sample_value": np.zeros((1, 1, 1), np.float32),
        }
        ranked, doubt = ranking._Candidates(kept, (none, none, none), images).ranked(Exact(), top)
        is_wrong = (ranked["top_value"] != np.sort(own, axis=0)[::-1][:top]).any()
        assert doubt.lists == doubt.safe + doubt.near == 1
        assert not (is_wrong and doubt.safe)
        wrong, safe = wrong + int(is_wrong), safe + doubt.safe
    assert wrong > 20 and safe > 20, "the test would show nothing"


def test_a_stopped_ranking_goes_on(looked_at, tmp_path, monkeypatch):
    whole, doubts = searched(looked_at, tmp_path / "whole", "bfloat16")
    calls = []
    ride_on = ranking.ride_on

    def interrupted(*words):
        calls.append(words)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return ride_on(*words)

    monkeypatch.setattr(ranking, "ride_on", interrupted)
    with pytest.raises(KeyboardInterrupt):
        searched(looked_at, tmp_path / "stopped", "bfloat16")
    assert len(ranking.ranking_files(tmp_path / "stopped")) == 2
    again, same_doubts = searched(looked_at, tmp_path / "stopped", "bfloat16")
    assert same_doubts == doubts
    for name, array in statistics_arrays(whole).items():
        np.testing.assert_array_equal(getattr(again, name), array, err_msg=name)


def test_where_every_image_is_a_candidate_the_evolution_is_the_same(unbroken, tmp_path):
    """Nine of 36 images are kept: all are ranked again. Then it grows by steps and selections."""
    words = {"top": 9, "maps": 2, "selections": ("low", "quantile:0.5")}
    folders = [shutil.copytree(unbroken, tmp_path / name) for name in ("exact", "coarse")]
    exact = evolve(folders[0], **words)
    first = evolve(folders[1], at=["0", "last"], search_precision="bfloat16", top=9, maps=2)
    assert set(first.record.ranked) == {str(step) for step in first.steps}
    coarse = evolve(folders[1], search_precision="bfloat16", **words)
    assert set(coarse.record.ranked) == {str(step) for step in exact.steps}
    assert all(doubt["exact"] == doubt["lists"] for doubt in coarse.record.ranked.values())
    assert "--search-precision bfloat16" in coarse.record.command
    assert "search_precision" not in exact.record.asked
    ours, theirs = (
        each.units.filter(pc.is_in(each.units["selection"], pa.array(["top", "fixed", "low"])))
        for each in (coarse, exact)
    )
    for name in exact.units.column_names:
        assert ours[name] == theirs[name], name
    assert not list((folders[1] / "evolution").glob("*ranking*"))
    with pytest.raises(ZfjaxError, match="other settings \\(search_precision"):
        evolve(folders[1], **words)


@pytest.mark.usefixtures("spare_of_figures")
def test_the_command_and_the_page_say_how_sure_it_is(unbroken, tmp_path, capsys):
    run = shutil.copytree(unbroken, tmp_path / "run")
    words = ["evolve", "--workdir", str(run), "--at", "last", "--maps", "2", "--top", "2"]
    assert main([*words, "--search-precision", "bfloat16"]) == 0
    said = capsys.readouterr().out
    assert "searched at bfloat16, candidates ranked again at highest: of 14 lists of" in said
    assert main(["report", "--workdir", str(run)]) == 0
    assert "searched at bfloat16, candidates ranked" in (run / "report/index.html").read_text()


@pytest.mark.parametrize("dry", [True, False])
@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["half"], "There is no precision 'half' (--search-precision); there are highest, tf32,"),
        (["tf32", "--measure", "census"], "--search-precision tf32 is too coarse for measures"),
    ],
)
def test_what_does_not_go_is_a_sentence(unbroken, capsys, flags, words, dry):
    command = ["evolve", "--workdir", str(unbroken), "--search-precision", *flags]
    assert main([*command, *["--dry-run"] * dry]) == 1
    assert words in capsys.readouterr().err
    assert not (unbroken / "evolution").exists()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_anyone_s_network_is_run_as_coarsely(precision):
    trees = {0: linen_nets.drawn(Net(), (24, 24), seed=0)}
    pixels = np.random.default_rng(0).integers(0, 256, (3, 24, 24, 3), np.uint8)
    with jax.numpy_rank_promotion("allow"):
        subject = adopted(trees, pixels)
        inputs, until = subject.prepare(pixels), list(subject.layers)[-1]
        network = subject.network.multiplied(precision)
        assert (network == subject.network) == (precision == "highest")
        coarse = network.forward(subject.parameters(0), inputs, until=until)
        exact = subject.forward(subject.parameters(0), inputs, until=until)
    for name, maps in exact.items():
        assert coarse[name].dtype == maps.dtype
        off = float(np.abs(np.asarray(coarse[name]) - np.asarray(maps)).max() / maps.max())
        assert 1e-5 < off < 0.05 if precision == "bfloat16" else off == 0
