"""Which folders of a source are its splits: as their names say, or as the user does. Pure.

Folders are compared in Unicode's NFC form. What is not certain is asked about, in one sentence that
names the folders and the flag that answers it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from zfjax.data.folders import (
    LABEL_FILE,
    Folder,
    Head,
    class_folders,
    few,
    heads_at,
    looked_through,
    nfc_parts,
    no_training,
    paths_below,
    question,
    refusal,
    without_labels,
)
from zfjax.data.split_names import read_name, read_names, says_nothing, split_of


def _splits_inside(
    folder: Folder, head: Head, paths: Sequence[Folder]
) -> tuple[dict[str, str], list[str]]:
    """({folder: split}, those to ask about) of the folders in ``folder`` that hold class folders
    and are called like splits.
    """
    deep = [name for name, (_, deeper) in head.below.items() if deeper]
    splits, asked = read_names(deep, all_there_is=len(deep) == len(head.below))
    if not splits and not asked:
        return {}, []
    inside = paths_below(folder, paths)
    filled = {name for name in deep if class_folders((*folder, name), "", inside)}
    return (
        {name: split for name, split in splits.items() if name in filled},
        [name for name in asked if name in filled],
    )


def split_folders_by_name(paths: Sequence[Folder], guess: bool) -> tuple[Folder, dict[Folder, str]]:
    """(the folder above splits or classes, {split folder: split}); without split folders the root
    itself is train.
    """
    above: Folder = ()
    heads = heads_at(paths, 0)
    while len(heads) == 1:
        [(name, head)] = heads.items()
        # Two splits in it or more, and it is a folder of splits, whatever its own name.
        inside = _splits_inside((*above, name), head, paths)[0] if split_of(name) else {}
        if not head.below or (guess and split_of(name) and len(inside) < 2):
            break
        above = (*above, name)
        heads = heads_at(paths, len(above))
    depth = len(above)
    root = next((parts[:depth] for parts in paths if len(parts) > depth + 1), ())
    splits = _splits_among(heads, paths, root) if guess else {}
    if not splits:
        return root, {root: "train"}
    return root, {
        looked_through((*root, name), split, paths): split for name, split in splits.items()
    }


def _splits_among(
    heads: Mapping[str, Head], paths: Sequence[Folder], root: Folder
) -> dict[str, str]:
    """{folder: split} of folders beside each other; {} where they are classes. Raises ZfjaxError
    where it asks.
    """
    deep = {name: head for name, head in heads.items() if head.holds_folders}
    beside = sum(
        head.files
        for name, head in heads.items()
        if name not in deep and not read_name(name).splits
    )
    splits, asked = read_names(
        deep, all_there_is=beside < sum(head.inside for head in deep.values())
    )
    if asked:
        raise question(f"These folders may be splits or classes: {', '.join(asked)}", asked, splits)
    if splits:
        _check_splits(paths, root, heads, splits)
        return splits
    _check_no_splits_below(paths, root, deep)
    readings = {name: read_name(name) for name in heads}
    _check_no_flat_splits(heads, deep)
    _check_no_copies(root, heads, deep)
    named = {split for reading in readings.values() if (split := reading.known)}
    together = read_names(heads)[0]  # cars_train and cars_test
    named |= set(together.values())
    if len(named) > 1 or (
        heads and all(reading.known or reading.like_a_split for reading in readings.values())
    ):
        like = sorted(
            name
            for name, reading in readings.items()
            if reading.known or reading.like_a_split or name in together
        )
        raise refusal(
            f"{', '.join(like)} are called like splits but hold images, not class folders: a split"
            f" needs a folder for each class (train/CLASS/IMAGE), or {LABEL_FILE}; where they are"
            " classes, say --splits none."
        )
    same = (
        set.intersection(*(set(head.below) for head in deep.values())) if len(deep) > 1 else set()
    )
    if len({name for name in same if not says_nothing(name)}) > 1 and 2 * len(deep) > len(heads):
        raise question(
            f"{few(deep)} hold folders of the same names ({few(same)}) and may be splits or"
            " classes",
            sorted(deep),
            {},
        )
    return {}


def _check_no_copies(root: Folder, heads: Mapping[str, Head], deep: Mapping[str, Head]) -> None:
    """Raises ZfjaxError for a folder that holds folders called as those beside it, as a copy of the
    whole does.
    """
    for name, head in sorted(deep.items()):
        same = {inner for inner in head.below if inner in heads and inner != name}
        if len({inner for inner in same if not says_nothing(inner)}) > 1:
            path = "/".join((*root, name))
            raise question(
                f"{path} holds folders of the same names as lie beside it ({few(same)}), as a copy"
                " of the whole does",
                [],
                {path: "train"},
            )


def _check_no_flat_splits(heads: Mapping[str, Head], deep: Mapping[str, Head]) -> None:
    """Raises ZfjaxError where the folders that hold images are called like splits, and others hold
    folders of them (Images/CLASS and test).
    """
    flat = [name for name, head in heads.items() if name not in deep and head.images]
    readings = map(read_name, flat)
    if deep and flat and all(reading.known or reading.like_a_split for reading in readings):
        read = {name: "train" for name in deep} if len(deep) == 1 else {}
        raise question(
            f"{few(flat)} may be splits but hold no class folders, beside {few(deep)} with folders"
            " of images",
            sorted(deep) + sorted(flat) if not read else sorted(flat),
            read,
        )


def _check_splits(
    paths: Sequence[Folder], root: Folder, heads: Mapping[str, Head], splits: Mapping[str, str]
) -> None:
    """Raises ZfjaxError for split folders within splits, and for what lies beside splits and may
    belong to one.
    """
    _check_no_splits_inside(paths, root, heads, splits)
    beside = {name: head for name, head in heads.items() if name not in splits}
    left_out = [
        name
        for name, head in beside.items()
        if not head.holds_folders and read_name(name).like_a_split and not read_name(name).known
    ]
    if left_out:
        raise question(
            f"{few(left_out)} may be splits but hold no class folders, and would be left out",
            [],
            splits,
        )
    inside: dict[str, list[Folder]] = defaultdict(list)
    for parts in paths:
        if len(parts) > len(root) + 2:
            inside[parts[len(root)]].append(parts)
    training = {
        name
        for folder, split in splits.items()
        if split == "train"
        for name in class_folders((*root, folder), split, inside[folder])
    }
    # A test folder of images alone is no question, though a class may be called test.
    alike = sorted(
        name
        for name, head in beside.items()
        if (name in training and not read_name(name).known)
        or (head.below and training & class_folders((*root, name), "", inside[name]))
    )
    if alike:
        raise question(
            "These folders may be splits, having names in common with the training classes, and"
            f" would be left out: {few(alike)}",
            alike,
            splits,
        )
    outside = [
        head.files + head.inside for name, head in beside.items() if not read_name(name).splits
    ]
    if sum(outside) > sum(heads[name].inside for name in splits):
        raise question(f"Most files lie outside {', '.join(splits)}, in {few(beside)}", [], splits)
    _check_labelled(beside, splits)


def _check_labelled(beside: Mapping[str, Head], splits: Mapping[str, str]) -> None:
    """Raises ZfjaxError for a folder beside the training split that is called like a split and
    holds images without class folders: only for testing are they often without labels.
    """
    if "train" not in splits.values():
        return
    for name, head in beside.items():
        split = read_name(name).known
        if split and split != "test" and head.images:
            roles: dict[Folder, str] = {
                (folder,): its_split for folder, its_split in splits.items()
            }
            raise without_labels((name,), head.images, roles)


def _check_no_splits_inside(
    paths: Sequence[Folder], root: Folder, heads: Mapping[str, Head], splits: Mapping[str, str]
) -> None:
    """Raises ZfjaxError for split folders that lie in the folder of a split."""
    lower: dict[str, str] = {}
    unknown: list[str] = []
    outer = dict(splits)
    for name, split in splits.items():
        folder = looked_through((*root, name), split, paths)
        head = heads_at(paths_below(folder, paths), len(folder) - 1)[folder[-1]]
        known, asked = _splits_inside(folder, head, paths)
        if not known and not asked:
            continue
        above = "/".join(folder[len(root) :])
        lower |= {f"{above}/{inner}": its_split for inner, its_split in known.items()}
        unknown += [f"{above}/{inner}" for inner in asked]
        inner_classes = set().union(
            *(class_folders((*folder, inner), "", paths) for inner in (*known, *asked))
        )
        if not inner_classes & (head.below.keys() - {*known, *asked}):
            del outer[name]  # it holds splits, not classes
    if lower or unknown:
        raise question(
            f"The split folders {few([*lower, *unknown])} do not lie on top",
            unknown,
            {**outer, **lower},
        )


def _check_no_splits_below(paths: Sequence[Folder], root: Folder, deep: Mapping[str, Head]) -> None:
    """Raises ZfjaxError for split folders that lie lower than classes do."""
    holders = {parts[:depth] for parts in paths for depth in range(len(root) + 2, len(parts) - 1)}
    like = [
        folder
        for folder in sorted(holders)
        if (split_of(folder[-1]) or read_name(folder[-1]).like_a_split)
        and class_folders(folder, "", paths)
    ]
    if like:
        lower = {"/".join(folder): split for folder in like if (split := split_of(folder[-1]))}
        unknown = ["/".join(folder) for folder in like if not split_of(folder[-1])]
        raise question(
            f"The split folders {few([*lower, *unknown])} do not lie on top", unknown, lower
        )
    below = {name for head in deep.values() for name in head.below}
    named = {split for name in below if (split := split_of(name))}
    if len(named) > 1 or (below and all(map(split_of, below))):
        raise refusal(
            f"The class folders {few(deep)} hold split folders ({few(below)}); arrange them as "
            "train/CLASS/IMAGE, or say --splits none to have all images in one split."
        )


def split_folders_as_said(
    paths: Sequence[Folder], splits: Mapping[str, str]
) -> tuple[Folder, dict[Folder, str]]:
    """As ``split_folders_by_name``, for split folders that the user names."""
    tops: list[Folder] = [()]
    while len(heads := heads_at(paths, len(tops[-1]))) == 1:
        tops.append((*tops[-1], next(iter(heads))))
    there = {parts[:depth] for parts in paths for depth in range(1, len(parts))}
    roles: dict[Folder, str] = {}
    for name, split in splits.items():
        folder = next(
            (top + nfc_parts(name) for top in tops if top + nfc_parts(name) in there), None
        )
        if folder is None:
            names = sorted(parts[0] for parts in there if len(parts) == 1) or ["none"]
            raise refusal(
                f"--splits: there is no folder {name!r} with files in the source; on top it holds "
                f"{few(names, 10)}."
            )
        roles[folder] = split
    if "train" not in roles.values():
        raise no_training(roles)
    for folder in roles:
        above = next(
            (other for other in roles if other != folder and other == folder[: len(other)]), None
        )
        if above and not any(len(parts) > len(folder) + 1 for parts in paths_below(folder, paths)):
            raise refusal(
                f"--splits: the folder {'/'.join(folder)} lies in {'/'.join(above)} and holds no"
                " class folders; give folders that lie beside each other."
            )
    parents = [folder[:-1] for folder in roles]
    shared = next(
        n
        for n in range(min(map(len, parents)), -1, -1)
        if len({parent[:n] for parent in parents}) == 1
    )
    above_classes = {}
    for folder, split in roles.items():
        own = [
            parts
            for parts in paths_below(folder, paths)
            if not any(len(other) > len(folder) and parts[: len(other)] == other for other in roles)
        ]
        above_classes[looked_through(folder, split, own)] = split
    return parents[0][:shared], above_classes
