"""Which split a folder's name means: train, validation or test, in the spellings that people use.
Pure.

A name is cut into words: at capitals, digits and all that is neither letter nor digit; case does
not count. Years and words for what is in any split (set, images, data ...) say nothing. What is
left decides:

- one split's word alone (``train``, ``Training``, ``train_set``, ``trainset``, ``dev``,
``val2017``) is known;
- a split's word with anything else (``seg_train``, ``imagenet64_val``, ``train_64x64``) is known
  where folders beside it have the same rest and other splits (``seg_test``);
- a split's word with numbers, letters or words like "small", and words like "fold" and "unlabeled",
  are asked about, and so is any other name with a split's word in it where all folders have one, or
  a split is known; beside one that is asked about, so is any name that hints at a split
  (``minitrain``).
"""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from zfjax.errors import ZfjaxError

SPLITS = ("train", "validation", "test")

_SPELLINGS = {
    "train": "train training trn",
    "validation": (
        "validation validate validating val valid vld dev devel development eval evaluate"
        " evaluation holdout heldout"
    ),
    "test": "test testing tst",
}
_WORDS = {word: split for split, words in _SPELLINGS.items() for word in words.split()}
_SAY_NOTHING = frozenset(
    "set sets data dataset datasets image images img imgs photo photos picture pictures pic pics"
    " sample samples example examples file files folder folders dir directory jpg jpeg jpegs png"
    " jpegimages the of".split()
)
_COMPOUNDS = {word + more: split for word, split in _WORDS.items() for more in _SAY_NOTHING}
_SHORT = {"tr": "train", "te": "test", "ts": "test", "va": "validation", "vl": "validation"}
_HINTS = {
    "train": "train",
    "val": "validation",
    "dev": "validation",
    "eval": "validation",
    "test": "test",
}
"""Parts of words that hint at a split, to suggest an answer by and never to decide."""
_ASKED = frozenset(
    "fold folds kfold split splits subset subsets partition partitions part parts extra unlabeled"
    " unlabelled labeled labelled unsupervised supervised trainval valtrain traintest testval"
    " valtest minival".split()
)
_QUALIFIERS = frozenset(
    "full small mini tiny large big clean noisy raw original aug augmented new old final public"
    " private first second third one two three other all only standard hard easy seen unseen more"
    " ii iii iv vi".split()
)


@dataclass(frozen=True)
class Reading:
    """What a folder's name says: the splits that its words name, the words that are left, whether
    it might be one.
    """

    splits: frozenset[str]
    rest: tuple[str, ...]
    short: bool

    @property
    def known(self) -> str | None:
        """The split that the name alone means, or None."""
        return next(iter(self.splits)) if len(self.splits) == 1 and not self.rest else None

    @property
    def like_a_split(self) -> bool:
        """Whether it hardly means anything but a split, known or not."""
        return bool(self.splits or _ASKED.intersection(self.rest)) and all(
            word in _ASKED
            or word in _QUALIFIERS
            or word.isdecimal()
            or (len(word) == 1 and word.isascii())
            for word in self.rest
        )


def read_name(folder: str) -> Reading:
    """The reading of one folder's name."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", unicodedata.normalize("NFKC", folder))
    words = re.findall(r"[^\W\d_]+|\d+", apart.casefold())
    words = [word for word in words if not re.fullmatch(r"(19|20)\d\d", word)]
    whole = "".join(words)
    if split := _WORDS.get(whole) or _COMPOUNDS.get(
        whole
    ):  # held_out, dev-el; TRAINset is cut by none
        return Reading(frozenset({split}), (), False)
    splits = frozenset(filter(None, (_WORDS.get(word) or _COMPOUNDS.get(word) for word in words)))
    rest = [
        word
        for word in words
        if word not in _WORDS and word not in _COMPOUNDS and word not in _SAY_NOTHING
    ]
    if splits:
        rest = [word for word in rest if word not in ("split", "splits")]
    return Reading(splits, tuple(rest), whole in _SHORT)


def split_of(folder: str) -> str | None:
    """The split that a folder's name alone means, or None."""
    return read_name(folder).known


def hinted_split(folder: str) -> str | None:
    """The split that a name most likely means (te, minival, crossval, teste), or None where it
    gives no hint; of several, the first in the name.
    """
    reading = read_name(folder)
    if len(reading.splits) == 1:
        return next(iter(reading.splits))
    whole = unicodedata.normalize("NFKC", folder).casefold()
    if reading.short:
        return _SHORT["".join(filter(str.isalpha, whole))]
    hits = [(whole.find(hint), -len(hint), split) for hint, split in _HINTS.items()]
    return min((hit for hit in hits if hit[0] >= 0), default=(0, 0, None))[2]


def says_nothing(folder: str) -> bool:
    """Whether a folder's name is only a word like "images"."""
    reading = read_name(folder)
    return not reading.splits and not reading.rest


def read_names(
    folders: Collection[str], all_there_is: bool = True
) -> tuple[dict[str, str], list[str]]:
    """({folder: its split}, those to ask about) of folders that lie beside each other; the others
    are no splits.

    Two folders that mean the same split are asked about. ``all_there_is``: nothing else of weight
    lies beside them.
    """
    readings = {folder: read_name(folder) for folder in sorted(folders)}
    known = {folder: reading.known for folder, reading in readings.items() if reading.known}
    alike: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for folder, reading in readings.items():
        if reading.rest and len(reading.splits) == 1:
            alike[reading.rest].append(folder)
    for group in alike.values():
        if len({readings[folder].splits for folder in group}) > 1:
            known |= {folder: next(iter(readings[folder].splits)) for folder in group}
    perhaps = {folder for folder, reading in readings.items() if reading.splits or reading.short}
    in_context = bool(known) or (all_there_is and len(perhaps) == len(readings))
    asked = {
        folder
        for folder, reading in readings.items()
        if folder not in known and (reading.like_a_split or (in_context and folder in perhaps))
    }
    if asked:
        asked |= {folder for folder in readings if folder not in known and hinted_split(folder)}
    for split in SPLITS:
        same = [folder for folder, its_split in known.items() if its_split == split]
        asked |= set(same) if len(same) > 1 else set()
    return {folder: split for folder, split in known.items() if folder not in asked}, sorted(asked)


def parse_splits(words: Sequence[str]) -> dict[str, str]:
    """{folder: split} from ``train=Training validation=Dev``, or {} from ``none``. Raises
    ZfjaxError for other words.

    A split may be given more than one folder, a folder only one split; one of them must be train.
    """
    if [word.casefold() for word in words] == ["none"]:
        return {}
    splits: dict[str, str] = {}
    for word in words:
        name, equals, folder = word.partition("=")
        folder = folder.strip("/").removeprefix("./")
        split = split_of(name)
        if not (equals and folder and split):
            raise ZfjaxError(
                f"--splits {word!r}: expected train=FOLDER, validation=FOLDER or test=FOLDER, or"
                " 'none' where the folders are classes."
            )
        if splits.setdefault(folder, split) != split:
            raise ZfjaxError(
                f"--splits gives the folder {folder!r} to {splits[folder]} and to {split}: to one"
                " only."
            )
    return splits


def how_to_say(folders: Sequence[str], read: Mapping[str, str] | None = None) -> str:
    """The end of a question about ``folders``: the flags that would answer it, by example.

    ``read``: {folder: split} of those that are known. A folder without a hint is not in the
    example, and FOLDER stands for the one for training where none has that.
    """
    answer = dict(read or {})
    for folder in folders:
        if split := hinted_split(folder.rpartition("/")[2]):
            answer.setdefault(folder, split)
    pairs = sorted(answer.items(), key=lambda pair: (SPLITS.index(pair[1]), pair[0]))
    words = [shlex.quote(f"{split}={folder}") for folder, split in pairs[:8]]
    if "train" not in answer.values():
        words.insert(0, "train=FOLDER")
    left_out = not answer.keys() >= set(folders)
    return (
        f"say which is which, as in --splits {' '.join(words)}, or --splits none where all folders"
        " are classes" + ("; a folder that --splits does not name is left out" if left_out else "")
    )
