"""Files and folders that a system, a network disk or a program has put beside a user's: never
images, classes or data sets. Pure.
"""

from __future__ import annotations

import re

_NAMES = frozenset(
    {
        "__macosx",  # macOS
        "icon\r",
        "network trash folder",
        "temporary items",
        "thevolumesettingsfolder",
        "desktop db",
        "desktop df",
        "thumbs.db",  # Windows
        "ehthumbs.db",
        "ehthumbs_vista.db",
        "desktop.ini",
        "autorun.inf",
        "$recycle.bin",
        "system volume information",
        "recycler",
        "lost+found",  # Linux, Android
        "lost.dir",
        "@eadir",  # Synology, QNAP
        "@tmp",
        "@synoresource",
        "@sharebin",
        "@recycle",
        "@recently-snapshot",
        "@__thumb",
        "#recycle",
        "#snapshot",
        "~snapshot",  # NetApp
        "_gsdata_",  # GoodSync
        "__pycache__",  # programs
        "picasa.ini",
        "zbthumbnail.info",
        "pspbrwse.jbf",
    }
)
"""In lower case; what begins with a dot is hidden anyway (.DS_Store, .AppleDouble, .Trash-1000,
.git, .ipynb_checkpoints)."""
_BEGINNINGS = (".", "synofile_thumb_", "synophoto_thumb_", "synoindex_", "~$")
_OF_CHKDSK = re.compile(r"found\.\d{3}")


def is_system_name(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or a system's own."""
    folded = name.casefold()
    return folded in _NAMES or folded.startswith(_BEGINNINGS) or bool(_OF_CHKDSK.fullmatch(folded))
