"""Sets that TFDS knows by name: its own builders, and its mock data in the place of a network."""

import importlib.util
import io

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from tests.data_helpers import encoded, jpeg, picture
from zfjax.commands.cli import main
from zfjax.data import writing
from zfjax.data.dataset import open_dataset
from zfjax.data.fetching import fetch
from zfjax.errors import ZfjaxError


def test_a_name_that_tfds_does_not_know(tmp_path):
    with pytest.raises(ZfjaxError, match="TFDS knows no data set 'no_such_set'"):
        fetch("no_such_set", tmp_path)


class Pictures(tfds.core.GeneratorBasedBuilder):
    """What a TFDS builder with a download looks like."""

    VERSION = tfds.core.Version("1.0.0")
    harm, as_arrays = None, False

    def _info(self):
        names = tfds.features.ClassLabel(names=["cat", "dog"])
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {"image": tfds.features.Image(shape=(None, None, 3)), "label": names}
            )
        )

    def _split_generators(self, manager):
        if self.harm is not None:
            raise self.harm
        return {"train": self._generate_examples(12), "test": self._generate_examples(4)}

    def _generate_examples(self, count):
        for number in range(count):
            image = (
                np.asarray(picture(number, 20, 24))
                if self.as_arrays
                else io.BytesIO(jpeg(number, 20, 24))
            )
            yield number, {"image": image, "label": number % 2}


@pytest.fixture
def builder(monkeypatch):
    monkeypatch.setattr(tfds, "builder", lambda name, **options: Pictures(**options))
    monkeypatch.setattr(Pictures, "harm", None)
    monkeypatch.setattr(Pictures, "as_arrays", False)
    return Pictures


def test_a_builder_is_prepared_as_arrayrecord_and_opened(tmp_path, builder, capsys):
    assert main(["data", "fetch", "pictures", "--data-dir", str(tmp_path)]) == 0
    assert "train 12, test 4" in capsys.readouterr().out
    dataset = open_dataset("pictures", tmp_path)
    assert dataset.class_names == ("cat", "dog") and dataset.read("train", [3], (16, 16))[
        0
    ].image.shape == (16, 16, 3)


@pytest.mark.parametrize(
    "harm, says",
    [
        (ConnectionError("no route"), "is there a network"),
        (
            ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow"),
            "prepares pictures with tensorflow",
        ),
    ],
)
def test_no_network_and_no_tensorflow_are_one_sentence(tmp_path, builder, monkeypatch, harm, says):
    monkeypatch.setattr(builder, "harm", harm)
    with pytest.raises(ZfjaxError, match=says):
        fetch("pictures", tmp_path)


@pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is not None, reason="TensorFlow is installed here"
)
def test_a_set_stored_as_arrays_says_that_it_needs_tensorflow(tmp_path, builder, monkeypatch):
    monkeypatch.setattr(builder, "as_arrays", True)
    with pytest.raises(
        ZfjaxError, match="prepares pictures with TensorFlow, which is not installed"
    ):
        fetch("pictures", tmp_path)


class Sized(Pictures):
    """With configs, which become a folder of their own, and features that zfjax has no use for."""

    BUILDER_CONFIGS = tuple(
        tfds.core.BuilderConfig(name=name, version="2.0.0") for name in ("big", "small")
    )

    def _info(self):
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, None, 3)),
                    "label": tfds.features.ClassLabel(num_classes=2),
                    "objects": tfds.features.Sequence({"bbox": tfds.features.BBoxFeature()}),
                    "name": tfds.features.Text(),
                }
            )
        )

    def _generate_examples(self, count):
        for number, example in super()._generate_examples(count):
            yield (
                number,
                {
                    **example,
                    "objects": [{"bbox": tfds.features.BBox(0.0, 0.0, 1.0, 0.5)}],
                    "name": "é",
                },
            )


def test_a_set_with_configs_that_was_prepared_elsewhere_is_found_by_name(tmp_path):
    for config in ("big", "small"):
        Sized(data_dir=tmp_path, file_format="array_record", config=config).download_and_prepare()
    for config in ("big", "small"):
        dataset = open_dataset(f"sized/{config}", tmp_path)
        assert dataset.version == "2.0.0" and dataset.splits == {"train": 12, "test": 4}
        assert [one.label for one in dataset.read("train", range(12), (16, 16))].count(1) == 6
    with pytest.raises(ZfjaxError, match="sized/big.*sized/small"):
        open_dataset("sized", tmp_path)


def test_mock_data_of_a_set_that_tfds_knows_is_read_as_tfds_stores_it(tmp_path):
    with tfds.testing.mock_data(num_examples=6):
        builder = tfds.builder("beans", data_dir=tmp_path / "nowhere")
        features = builder.info.features
        given = {split: list(builder.as_data_source(split)) for split in ("train", "test")}
    folder = tmp_path / "beans" / writing.VERSION
    folder.mkdir(parents=True)
    shards = {}
    for split, examples in given.items():
        stored = [
            {**example, "image": io.BytesIO(encoded(Image.fromarray(example["image"]), "PNG"))}
            for example in examples
        ]
        records = [
            features.serialize_example(features.encode_example(example)) for example in stored
        ]
        writing.write_shard(folder / writing.shard_name("beans", split, 0, 1), records)
        shards[split] = [len(records)], sum(map(len, records))
    about = writing.About(features["label"].names, description="mock data")
    writing.write_metadata(folder, "beans", features, shards, about)
    dataset = open_dataset("beans", tmp_path)
    assert dataset.class_names == ("angular_leaf_spot", "bean_rust", "healthy")
    for split, examples in given.items():
        for found, expected in zip(
            dataset.read(split, range(6), (500, 500)), examples, strict=True
        ):
            assert found.label == expected["label"] and np.array_equal(
                found.image, expected["image"]
            )


def test_what_tfds_refuses_is_one_sentence(tmp_path, capsys):
    for name, says in (
        ("food101:9.9.9", "give NAME, NAME/CONFIG or NAME:VERSION"),
        ("stanford_dogs/foo", "give NAME"),
        ("imagenet2012", "zfjax data import FOLDER-OF-THE-TARS"),
    ):
        assert main(["data", "fetch", name, "--data-dir", str(tmp_path)]) == 1
        told = capsys.readouterr().err
        assert says in told and "Traceback" not in told, told
    assert (
        main(
            [
                "train",
                "--preset",
                "demo",
                "--data.name",
                "beans",
                "--data.dir",
                str(tmp_path),
                "--workdir",
                str(tmp_path / "run"),
            ]
        )
        == 1
    )
    assert "`zfjax data fetch beans` prepares it" in capsys.readouterr().err
