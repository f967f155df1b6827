"""What readers of the paper ask, and where each question is answered. No JAX.

The questions are those that people put in comments, talks, forums and lecture notes, in our words.
An answer says what is known of itself; beside it stand the statements of the paper that bear on it
(``claims``), what measures say of this run (``measures``), and the command that shows more.
"""

from __future__ import annotations

from zfjax.studies.questions_learnt import DOWN, LEARNING
from zfjax.studies.questions_seen import BEARING, PICTURES

GROUPS = (
    ("Where the pictures come from", PICTURES),
    ("How features form", LEARNING),
    ("What features bear and serve for", BEARING),
    ("The way down", DOWN),
)
QUESTIONS = tuple(question for _, group in GROUPS for question in group)

GLOSSARY = {
    "unit": "one cell of one map: a filter at one place of one image; its value is taken after the"
    " ReLU, before pool and normalisation",
    "map": "all units of one filter; numbered from 0",
    "window, receptive field": "the pixels that a unit can see",
    "patch": "the window cut out of the raw image",
    "activation": "a unit's value; a map's on an image is its largest",
    "strongest image": "the image with the largest activation of a map; rank 0 of its top nine",
    "projection": "what comes back to pixels when one unit alone is on; signed, grey is zero",
    "switch": "which cell of a pool's window held the largest value",
    "rule": "what is done at ReLUs on the way down: deconvnet rectifies what comes down, gradient"
    " passes where the ReLU was open, guided does both",
    "jump": "a map's strongest image is another than at the epoch before",
    "settled": "like its last self, measured above what other maps show and below what two last"
    " epochs share",
    "dead": "no image excites the map",
    "purity": "the share of the commonest class among a map's nine strongest images",
    "aliasing": "what a filter passes above what its stride can carry, and which so comes out as"
    " something else",
    "95% interval": "made so that it covers the true number 19 times of 20, were the images, maps"
    " or seeds drawn anew",
}
