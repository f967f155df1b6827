"""Which map of one network answers to the same images as which of another, and whether that is more
than chance would have it. No JAX.

Concept: maps of two networks have no common numbers, so each map of the first is assigned one of
the second such that the assigned pairs correlate most in all (Hungarian assignment). An assignment
always exists; a pair is called *partners* only where it is more alike than maps are that have
learnt nothing together: each map beside the most alike map of the other network *before training*,
over all maps of the layer, in both directions. Whatever all maps share because an image is bright
or full of edges, these share too, and the network that was not trained has as many maps to choose
from. The upper tail of those numbers is Gumbel's (the largest of many), fitted to their mean and
spread on Fisher's scale; the pairs' p values go through Benjamini-Hochberg at RATE over the layer.
Where the start is not saved, a map's most alike *sibling* in its own layer stands for it, which
sets a higher bar, for siblings also share all layers below. A network that began with the very same
map is no chance: such pairs are left out of the null. Maps that give every image the same have no
partner.
Correlation: of ranks (Spearman), since a map's strength has no unit that networks share and a few
outstanding images would make a correlation of values; less what an image does to all maps of both
layers together (their mean rank: a partial correlation), which only blurs which map is which.
Source: Li et al. 2016, "Convergent learning", for matching by correlation and assignment; Gumbel
1958; Benjamini and Hochberg 1995. Cost: three times images x (maps of both)^2.
What can mislead: partners need not be the only ones of their kind (``mutual`` says which are each
other's first choice); of a handful of maps the bar is a guess; networks that began with the same
weights have partners that no training has made.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from zfjax.measures.similarity import check_same_images, standard_ranks
from zfjax.measures.verdicts import adjusted_p

RATE = 0.05
"""Of false discoveries among the pairs of a layer that are called partners."""
BAR = 0.95
"""Share of the null that lies below ``Matches.bar``."""
LEAST_FOR_STRENGTH = 8
"""Living maps of both layers together, from which on their mean says something of the image rather
than of one of them."""
LEAST_OF_NULL = 4
"""Numbers of which a spread is taken."""
SAME_START = 0.99
"""Above it, two maps began as one."""
_NEARLY = 1 - 1e-9
"""A correlation above it is 1 but for rounding."""


@dataclass(frozen=True)
class Answers:
    """A layer's answers to the images, by rank."""

    ranks: np.ndarray
    """float64 [images, living maps], centred, of norm 1."""
    alive: np.ndarray
    """bool [maps]: those that tell images apart."""

    @staticmethod
    def of(responses: np.ndarray) -> Answers:
        """Of responses [images, maps] of any dtype that orders the images."""
        ranks = standard_ranks(responses)
        alive = ~np.isnan(ranks).any(axis=0)
        return Answers(ranks[:, alive], alive)


@dataclass(frozen=True)
class Matches:
    """Maps of a layer of two networks, matched; see the top of this file."""

    correlations: np.ndarray
    """float64 [maps, maps of the other]; NaN where one is constant."""
    partner: np.ndarray
    """int64 [maps]: the map of the other that it is assigned; -1 for none."""
    own: np.ndarray
    """float64 [maps]: each map's correlation with the one that it is assigned; NaN for none."""
    mutual: np.ndarray
    """bool [maps]: whether each of the two is the other's most alike of all."""
    adjusted: np.ndarray
    """float64 [maps]: the rate of false discoveries at which its pair would just be one of
    partners; NaN where it has no pair or there is no null."""
    null: np.ndarray
    """float64 [n]: correlations that have nothing to do with what both have learnt."""
    bar: float
    """Below which BAR of the null lies, as fitted; NaN without a null."""

    @property
    def are_partners(self) -> np.ndarray:
        """bool [maps]."""
        return np.nan_to_num(self.adjusted, nan=1.0) <= RATE

    @property
    def possible(self) -> int:
        """How many pairs there can be: the fewer living maps of the two."""
        return int((self.partner >= 0).sum())

    @property
    def null_share(self) -> float:
        """Share of the null that is at least as alike as the least alike partners; 0 where there
        are none, NaN where there is no null.
        """
        if not len(self.null):
            return float("nan")
        alike = self.own[self.are_partners]
        return float((self.null >= alike.min()).mean()) if len(alike) else 0.0


def match_maps(x: Answers, y: Answers, before: tuple[Answers, Answers] | None = None) -> Matches:
    """Maps of x with maps of y, answers to the same images. ``before``: the same layers of both
    before training, from which the null comes; None: from siblings. Raises ValueError for different
    numbers of images.
    """
    check_same_images(x.ranks, y.ranks)
    between = _between(x, y)
    partner = np.full(len(x.alive), -1)
    rows, columns = linear_sum_assignment(between[np.ix_(x.alive, y.alive)], maximize=True)
    partner[np.flatnonzero(x.alive)[rows]] = np.flatnonzero(y.alive)[columns]
    null = _of_siblings(x, y) if before is None else _of_untrained(x, y, before)
    law = _Gumbel.of(null)
    own, paired, p_values = at_pairs(between, partner), partner >= 0, np.full(len(partner), np.nan)
    if law is not None:
        p_values[paired] = law.above(own[paired])
    bar = float("nan") if law is None else law.quantile(BAR)
    return Matches(
        between, partner, own, _mutual(between, partner), adjusted_p(p_values), null, bar
    )


def at_pairs(correlations: np.ndarray, partner: np.ndarray) -> np.ndarray:
    """Of [maps, maps of the other] those of each map and its partner (-1: none): [maps], NaN for
    none.
    """
    if not correlations.size:
        return np.full(len(partner), np.nan)
    own = correlations[np.arange(len(partner)), np.maximum(partner, 0)]
    return np.where(partner >= 0, own, np.nan)


def _mutual(between: np.ndarray, partner: np.ndarray) -> np.ndarray:
    mutual, rows = np.zeros(len(partner), bool), np.flatnonzero(partner >= 0)
    if len(rows):
        known, columns = np.nan_to_num(between, nan=-np.inf), partner[rows]
        first = known[rows].argmax(axis=1) == columns
        mutual[rows] = first & (known[:, columns].argmax(axis=0) == rows)
    return mutual


def _between(x: Answers, y: Answers) -> np.ndarray:
    """Every map of x with every map of y, less what both share with the images' strength: the mean
    over the maps of both, so that maps of two networks lose what siblings lose. [maps, maps of y],
    NaN where one is constant.
    """
    plain = x.ranks.T @ y.ranks
    mine, theirs = _with_strength(x.ranks, y.ranks)
    left = np.outer(_rest(mine), _rest(theirs))
    # What is nothing but the images' strength is like nothing.
    partial = np.divide(
        plain - np.outer(mine, theirs), left, out=np.zeros(plain.shape), where=left > 1e-6
    )
    correlations = np.full((len(x.alive), len(y.alive)), np.nan)
    correlations[np.ix_(x.alive, y.alive)] = np.clip(partial, -1, 1)
    return correlations


def _with_strength(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Correlation of each map of both with the images' strength; 0 where that is not known."""
    together = x.shape[1] + y.shape[1]
    strength = x.sum(axis=1) + y.sum(axis=1)
    norm = np.linalg.norm(strength)
    if together < LEAST_FOR_STRENGTH or norm < 1e-9 * together:
        return np.zeros(x.shape[1]), np.zeros(y.shape[1])
    return strength @ x / norm, strength @ y / norm


def _rest(correlations: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum(1 - correlations**2, 0))


def _of_untrained(x: Answers, y: Answers, before: tuple[Answers, Answers]) -> np.ndarray:
    """How like the most alike map of the other network before training each map is: of both where
    they have as many living maps to choose from, else of the one that has the wider choice.
    """
    same = np.nan_to_num(_between(*before), nan=0.0) > SAME_START
    mine, theirs = _between(x, before[1]), _between(y, before[0])
    mine[same], theirs[same.T] = np.nan, np.nan
    return _most_alike(mine, theirs)


def _of_siblings(x: Answers, y: Answers) -> np.ndarray:
    """How like its most alike sibling each map is, likewise."""
    siblings = [_between(each, each) for each in (x, y)]
    for each in siblings:
        np.fill_diagonal(each, np.nan)
    return _most_alike(siblings[0], siblings[1])


def _most_alike(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The largest of each row that has one, of both or of the one whose rows have more columns to
    choose from.
    """
    choices = [int((~np.isnan(each)).any(axis=0).sum()) for each in (first, second)]
    best = []
    for each, choice in zip((first, second), choices, strict=True):
        if choice == max(choices):
            known = each[(~np.isnan(each)).any(axis=1)]
            best.append(np.nanmax(known, axis=1) if known.size else np.zeros(0))
    return np.concatenate(best)


@dataclass(frozen=True)
class _Gumbel:
    """The law of the largest of many, by its mean and spread on Fisher's scale."""

    mean: float
    spread: float

    @staticmethod
    def of(null: np.ndarray) -> _Gumbel | None:
        """Fitted; None where that is of too few numbers."""
        if len(null) < LEAST_OF_NULL:
            return None
        fisher = np.arctanh(np.clip(null, -_NEARLY, _NEARLY))
        return _Gumbel(float(fisher.mean()), float(max(fisher.std(ddof=1), 1e-6)))

    def above(self, correlations: np.ndarray) -> np.ndarray:
        """The probability of one as large; 0 for a correlation of 1."""
        fisher = np.arctanh(np.clip(correlations, -_NEARLY, _NEARLY))
        reduced = np.euler_gamma + np.pi / np.sqrt(6) * (fisher - self.mean) / self.spread
        tail = -np.expm1(-np.exp(-np.clip(reduced, -50, 50)))
        return np.where(correlations >= _NEARLY, 0.0, tail)

    def quantile(self, share: float) -> float:
        """The correlation below which that share lies."""
        reduced = -np.log(-np.log(share))
        scaled = self.spread * np.sqrt(6) / np.pi * (reduced - np.euler_gamma)
        return float(np.tanh(self.mean + scaled))
