"""``zfjax data fetch``: a classification set that TFDS knows by name, downloaded and prepared by
TFDS itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zfjax.data.dataset import Dataset, open_dataset
from zfjax.data.set_names import check_meaning, check_not_imported
from zfjax.errors import ZfjaxError
from zfjax.files import data_folder, exclusive_lock


def fetch(name: str, data_dir: Path | str) -> Dataset:
    """Has TFDS download and prepare ``name`` ("beans", "oxford_flowers102", "stanford_dogs" ...) in
    DATA_DIR.

    Needs a network, and TensorFlow where TFDS's own builder does (sets stored as arrays, like
    cifar10). A set that is there already is opened as it is. Raises ZfjaxError for a name that TFDS
    does not know or that means something else to zfjax, one that an import has taken in DATA_DIR, a
    set that is not for classification, a missing network or TensorFlow, and a failed download; TFDS
    leaves nothing that could be read.
    """
    root, base = data_folder(data_dir), name.split("/")[0].split(":")[0]
    check_meaning(base)
    check_not_imported(root, base)
    import tensorflow_datasets as tfds

    with exclusive_lock(
        root / f".{name.replace('/', '_')}.lock", f"Another process is fetching {name} into {root}."
    ):
        try:
            builder = tfds.builder(name, data_dir=root, file_format="array_record")
        except tfds.core.registered.DatasetNotFoundError:
            raise ZfjaxError(
                f"TFDS knows no data set {name!r}; tfds.list_builders() lists what it knows."
            ) from None
        except ImportError as error:
            raise _needs(name, error) from None
        except Exception as error:
            # A version or a kind that the set does not have, a path for a name: many kinds.
            raise ZfjaxError(
                f"TFDS does not take {name!r} ({_cause(error)}); give NAME, NAME/CONFIG or"
                " NAME:VERSION, as in its catalogue."
            ) from None
        if not {"image", "label"} <= set(_features(builder)):
            raise ZfjaxError(
                f"{name} is not a set for image classification: it has no features image and label."
            )
        try:
            builder.download_and_prepare()
        except ImportError as error:
            raise _needs(name, error) from None
        except Exception as error:  # TFDS, requests and the builders raise many kinds
            if base == "imagenet2012":
                raise ZfjaxError(
                    "TFDS wants ILSVRC2012's tars downloaded by hand; zfjax imports them without"
                    " it: zfjax data import FOLDER-OF-THE-TARS --name imagenet2012."
                ) from None
            mend = "is there a network? The same command begins again"
            if builder.MANUAL_DOWNLOAD_INSTRUCTIONS:
                mend = (
                    "it needs files that are downloaded by hand; TFDS's catalogue says which, and"
                    " where they go"
                )
            raise ZfjaxError(
                f"TFDS could not prepare {name} in {root} ({_cause(error)}); {mend}."
            ) from None
    return open_dataset(name, root)


def _cause(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:200]}"


def _features(builder: Any) -> Any:
    return builder.info.features or {}


def _needs(name: str, error: ImportError) -> ZfjaxError:
    return ZfjaxError(
        f"TFDS prepares {name} with {error.name or 'TensorFlow'}, which is not installed; pip"
        " install tensorflow, or prepare it elsewhere with `tfds build --file_format=array_record"
        f" {name}` and copy the folder."
    )
