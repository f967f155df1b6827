"""What a run was computed with, start by start, and what its network is called: on record, and on
the page."""

import dataclasses
import json
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import pytest

from tests.reported import Reported
from tests.small import make_config, stop_at
from tests.synthetic_run import SMALL, make_run
from zfjax import config as configs
from zfjax import presets
from zfjax.network.architecture import Architecture, Conv, Dense
from zfjax.network.named import ALEXNET, ZFNET
from zfjax.report.kit.style import text_width
from zfjax.report.provenance import architecture_table, report_facts
from zfjax.run.folder import current_commit, load_run, save_run
from zfjax.run.info import describe_config
from zfjax.run.naming import network_name
from zfjax.run.starts import Start, asks_deterministic, changes_between
from zfjax.training.interrupts import Interrupted
from zfjax.training.loop import train

pytestmark = pytest.mark.slow


def git(folder, *words):
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]
    return subprocess.run(
        ["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


def repository(folder, project, package):
    """A repository whose pyproject.toml names ``project``, and ``package`` in it, not yet added."""
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (folder / "pyproject.toml").write_text(f'[project]\nname = "{project}"\n')
    git(folder, "init")
    git(folder, "add", "pyproject.toml")
    git(folder, "commit", "-m", "first")
    return package


def test_the_commit_is_zfjaxs_own_or_none(tmp_path, monkeypatch):
    within = tmp_path / "theirs" / ".venv" / "lib" / "site-packages" / "zfjax"
    repository(tmp_path / "theirs", "theirs", within)
    assert current_commit(within) is None, "an environment in the user's repository"
    git(tmp_path / "theirs", "add", "-f", within)
    git(tmp_path / "theirs", "commit", "-m", "even a tracked one")
    assert current_commit(within) is None
    vendored = repository(tmp_path / "copy", "copy", tmp_path / "copy" / "zfjax")
    git(tmp_path / "copy", "add", "zfjax")
    git(tmp_path / "copy", "commit", "-m", "a copy beside their own code")
    assert current_commit(vendored) is None
    own = repository(tmp_path / "own", "zfjax", tmp_path / "own" / "zfjax")
    assert current_commit(own) is None, "not tracked"
    git(tmp_path / "own", "add", "zfjax")
    git(tmp_path / "own", "commit", "-m", "zfjax")
    head = git(tmp_path / "own", "rev-parse", "HEAD")[:12]
    assert current_commit(own) == head
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "theirs" / ".git"))  # as within a hook of theirs
    assert current_commit(own) == head and current_commit(within) is None
    (own / "__init__.py").write_text("changed = True\n")
    assert current_commit(own) == f"{head}-dirty"
    assert current_commit(tmp_path) is None


def test_this_checkout_knows_its_own_commit():
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        pytest.skip("zfjax is not read from a git checkout here")
    commit = current_commit()
    assert commit is not None and commit.startswith(git(root, "rev-parse", "HEAD")[:12])


def test_every_start_is_on_record(tmp_path, data_dir, unbroken, monkeypatch):
    [only] = load_run(unbroken).starts
    assert only.versions == {
        **only.versions,
        "python": platform.python_version(),
        "jaxlib": metadata.version("jaxlib"),
    }
    assert (only.platform, only.device_kind, only.devices, only.processes) == ("cpu", "cpu", 1, 1)
    assert (
        only.system == f"{platform.system()} {platform.machine()}" and only.deterministic is False
    )
    folder = tmp_path / "run"
    with pytest.raises(Interrupted):
        train(make_config(data_dir), folder, progress=stop_at(2), devices=1)
    monkeypatch.setenv("XLA_FLAGS", "--xla_gpu_deterministic_ops=true")
    train(make_config(data_dir), folder, devices=2)
    run = train(make_config(data_dir), folder, devices=1)
    kept = [(start.devices, start.deterministic) for start in run.starts]
    assert kept == [(1, False), (2, True)], "the last found it finished"
    assert changes_between(run.starts) == ["1 × cpu → 2 × cpu", "deterministic False → True"]
    record = json.loads((folder / "config.json").read_text())
    assert record["starts"][1]["devices"] == 2 and record["versions"] == run.starts[0].versions


def test_a_record_of_before_is_read_and_gone_on_with(tmp_path, data_dir):
    with pytest.raises(Interrupted):
        train(make_config(data_dir, epochs=1), tmp_path, progress=stop_at(2), devices=1)
    path = tmp_path / "config.json"
    record = json.loads(path.read_text())
    del record["starts"], record["versions"]["jaxlib"], record["versions"]["python"]
    record["versions"]["numpy"] = "1.0"
    path.write_text(json.dumps(record))
    [older] = load_run(tmp_path).starts
    assert older == Start(record["created"], record["versions"], record["git_commit"])
    run = train(make_config(data_dir, epochs=1), tmp_path, devices=1)
    assert run.starts[0] == older and len(run.starts) == 2 and run.versions == record["versions"]
    assert changes_between(run.starts) == [f"numpy 1.0 → {metadata.version('numpy')}"], (
        "what was not kept is not told"
    )


def test_deterministic_is_what_the_flags_ask_last():
    flag = "--xla_gpu_deterministic_ops"
    assert (
        not asks_deterministic("")
        and not asks_deterministic("--xla_other=true")
        and asks_deterministic(flag)
    )
    assert asks_deterministic(f"--a {flag}=true") and not asks_deterministic(
        f"{flag}=true {flag}=false"
    )


def without(*names):
    return dataclasses.replace(
        ZFNET, layers=tuple(layer for layer in ZFNET.layers if layer.name not in names)
    )


OWN = Architecture("mine", (32, 32), (Conv("conv1", 4, 3), Dense("fc2", 10)))
FEW = dataclasses.replace(
    without("norm1", "norm2"), layers=(Conv("conv0", 8, 3), *without("norm1", "norm2").layers)
)


@pytest.mark.parametrize(
    ("preset", "model", "name"),
    [
        ("imagenet", ZFNET, "zfnet"),
        ("imagenet-modern", presets.PRESETS["imagenet-modern"].model, "zfnet"),
        ("", presets.PRESETS["imagenet-modern"].model, "zfnet"),
        ("imagenet", ZFNET.with_classes(7), "zfnet"),
        (
            "imagenet",
            ZFNET.replace("conv1", kernel=11, stride=4),
            "zfnet with conv1.kernel 11, conv1.stride 4",
        ),
        ("", ZFNET.replace("conv1", padding=(2, 2)), "zfnet with conv1.padding (2, 2)"),
        (
            "imagenet-modern",
            presets.PRESETS["imagenet-modern"].model.replace("norm1", alpha=0.5),
            "zfnet with norm1.alpha 0.5",
        ),
        ("imagenet", without("conv3", "conv4"), "zfnet without conv3, conv4"),
        (
            "imagenet",
            without("fc7").replace("fc6", dropout=0.0),
            "zfnet with fc6.dropout 0 and without fc7",
        ),
        ("imagenet", FEW, "zfnet with conv0 added and without norm1, norm2"),
        ("alexnet", ALEXNET.replace("fc6", features=64), "alexnet with fc6.features 64"),
        (
            "demo",
            presets.PRESETS["demo"].model.replace("pool1", window=2),
            "zfnet-64-quarter with pool1.window 2",
        ),
        ("demo", OWN, "mine"),
        ("demo", presets.PRESETS["demo"].model.with_classes(3), "zfnet-64-quarter"),
    ],
)
def test_a_changed_network_says_what_was_changed(preset, model, name):
    assert (
        network_name(
            dataclasses.replace(
                presets.PRESETS["demo"], preset=preset, model=model, data=configs.Data(view=256)
            )
        )
        == name
    )


def test_many_changes_are_counted():
    model = ALEXNET
    for layer in ("conv1", "conv2", "conv3", "conv4", "conv5"):
        model = model.replace(layer, maps=8, kernel=3, padding=(1, 1))
    said = network_name(configs.Config(model=model, data=configs.Data(view=256)))
    assert said.startswith("alexnet with conv1.maps 8, conv1.kernel 3,") and said.endswith(
        " and 3 more"
    )


@pytest.fixture(scope="module")
def ablated(tmp_path_factory):
    """A report of a made-up run of the demo's network with two fields changed, of two starts."""

    def changed(folder, shape):
        run = make_run(folder, shape)
        model = run.config.model.replace("pool5", window=2).replace("fc6", dropout=0.25)
        versions = {**run.versions, "jaxlib": "0.10.2", "python": "3.12.1"}
        first = Start(
            run.created, versions, run.git_commit, "Linux x86_64", "gpu", "NVIDIA H100", 8, 2, True
        )
        second = dataclasses.replace(
            first,
            when="2025-12-02T10:00:00+00:00",
            device_kind="NVIDIA A100",
            versions={**versions, "jax": "0.11.0"},
            deterministic=False,
        )
        run = dataclasses.replace(
            run, config=dataclasses.replace(run.config, model=model), starts=(first, second)
        )
        save_run(run)
        return run

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.reported.make_run", changed)
        return Reported(
            tmp_path_factory.mktemp("ablated"), dataclasses.replace(SMALL, epochs=2, maps=2)
        )


def test_the_page_and_the_figures_say_what_was_changed(ablated):
    name = "zfnet-64-quarter with pool5.window 2, fc6.dropout 0.25"
    assert (
        f"<h1>{name}</h1>" in ablated.text
        and f"<title>{name} learning scenes</title>" in ablated.text
    )
    for stem in ("figure4", "figure2-conv1", "filters"):
        board = ablated.boards[stem]
        caption = board.texts[-1]
        assert name in caption["s"].replace("\n", " "), stem
        assert all(
            caption["x"] + text_width(line) <= board.width for line in caption["s"].split("\n")
        )
    assert describe_config(ablated.run.config)[0].startswith(f"{name}, input 64x64")


def test_the_page_says_what_it_was_computed_with(ablated, made):
    facts = dict(
        report_facts(ablated.run, ablated.evolution, None, ablated.evolution.steps, {}, True)
    )
    assert (
        facts["Computed on"]
        == "8 × NVIDIA H100 (gpu), 2 processes, Linux x86_64, bit-exact sums asked for"
    )
    assert (
        facts["Starts"]
        == "2, the last on 2 December 2025; between them changed: jax 0.10.2 → 0.11.0, "
        "8 × NVIDIA H100 → 8 × NVIDIA A100, deterministic True → False"
    )
    assert all(
        value in ablated.text.replace("&gt;", ">")
        for value in (facts["Computed on"], facts["Starts"])
    )
    older = dict(report_facts(made.run, made.evolution, None, made.evolution.steps, {}, True))
    assert not {"Computed on", "Starts"} & set(older), "nothing is on record"
    rows = {line["layer"]: line for line in architecture_table(ablated.run.config.model)}
    assert list(rows) == [layer.name for layer in ablated.run.config.model.layers]
    assert rows["conv1"]["what"] == "7 × 7 convolution, stride 2, padding 3 and 3"
    assert rows["conv1"]["parameters"] == 3552 and rows["pool1"]["parameters"] == 0
    assert rows["pool5"]["what"] == "2 × 2 max-pooling, stride 2, padding 0 and 1"
    assert rows["fc6"]["what"] == "fully connected, dropout 0.25" and rows["fc8"]["shape"] == (
        1,
        1,
        10,
    )
    words = " ".join(" ".join(ablated.page.words).split())
    for line in rows.values():
        assert f"{line['layer']} {line['what']} {' × '.join(map(str, line['shape']))}" in words
