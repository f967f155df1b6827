"""What a value of a traced network is to the deconvnet, and what an equation is.

Every value is one of: a *constant* of the parameters; a *map*, whose way down is known; an
*energy*, a square or magnitude, which may feed a statistic; a *statistic*, which went through a
reduction over space or maps, and scales or shifts maps; *bent*, a non-linear function of maps that
has no rule. What depends on a bent value is bent, with the first reason. Nothing is differentiated
in silence.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from zfjax.network.equations import Equation, Value
from zfjax.network.spans import Sight

Kind = Literal["constant", "map", "energy", "statistic", "bent"]
Role = Literal[
    "linear",
    "relu",
    "max pool",
    "clip",
    "contrast norm",
    "frozen statistic",
    "frozen gate",
    "tanh",
    "own rule",
    "no rule",
    "of statistics",
]

OF_SOFTPLUS = "tanh of a softplus"
SMOOTH = {
    "gelu": ("tanh", "erf", "erfc"),
    "silu": ("logistic",),
    "tanh": ("tanh",),
    "mish": (OF_SOFTPLUS,),
}
"""Smooth activations that may be given a rule, and the functions that they are known by."""
COMPARING = ("gt", "ge", "lt", "le", "eq", "ne", "is_finite")


@dataclass(frozen=True)
class Meaning:
    """What a value is."""

    kind: Kind
    sight: Sight
    reason: str = ""
    """Of a bent value: which operation has no rule. Of an energy: which made it."""
    averaged: bool = False
    """A mean over maps, which has none of its own: it scales or shifts others."""
    bend: str = ""
    """The last non-linear operation on the way, of a bent value."""
    root: Value | None = None
    """What it is a function of, place by place: to tell x * f(x)."""
    name: str = ""
    """Of the convolution or block that it comes from."""
    order: int = -1
    """Which equation that was."""


@dataclass(frozen=True)
class Graph:
    """Which equation gives a value, and which take it."""

    made_by: Mapping[Value, Equation]
    users: Mapping[Value, list[Equation]]

    def leaves(self, value: Value) -> list[Value]:
        """The parameters and known arrays that a constant is made of."""
        if value not in self.made_by:
            return [value]
        return [leaf for each in self.made_by[value].inputs for leaf in self.leaves(each)]


@dataclass(frozen=True)
class Verdict:
    """What an equation is, and what it gives."""

    meaning: Meaning
    role: Role | None
    main: int = 0
    """Which input is the map, of a combination."""
    layer: str | None = None
    """It is an activation: why it has no rule, or ""."""
    convolution: bool = False


@dataclass(frozen=True)
class Case:
    """An equation that depends on the images, about to be understood."""

    equation: Equation
    operands: tuple[Meaning, ...]
    """Of its inputs."""
    result: Meaning
    """Of its output, as far as it follows from its first input that depends on the images."""
    graph: Graph
    smooth: tuple[str, ...]
    """Activations of SMOOTH that have a rule."""
    index: int
    """Of the equation."""

    @property
    def live(self) -> tuple[int, ...]:
        """Which inputs depend on the images."""
        return tuple(i for i, own in enumerate(self.operands) if own.kind != "constant")

    @property
    def first(self) -> Meaning:
        """The first of them."""
        return self.operands[self.live[0]]

    @property
    def kinds(self) -> set[Kind]:
        """Of all of them."""
        return {self.operands[i].kind for i in self.live}

    @property
    def operation(self) -> str:
        """The equation's."""
        return self.equation.operation

    def after(self, **changes: Any) -> Case:
        """The same with another ``result``."""
        return dataclasses.replace(self, result=dataclasses.replace(self.result, **changes))

    def verdict(self, role: Role | None, kind: Kind, **options: Any) -> Verdict:
        """That the equation has this role and gives a value of this kind."""
        reason = "" if kind == "map" else self.result.reason
        return Verdict(dataclasses.replace(self.result, kind=kind, reason=reason), role, **options)

    def bent(self, words: str = "", **options: Any) -> Verdict:
        """That it has no rule. The reason is the first one met on the way."""
        where = f" in {self.equation.scope}" if self.equation.scope else ""
        reason = self.result.reason or f"{words} {self.equation}{where}".strip()
        role: Role | None = None if self.operation in COMPARING else "no rule"
        return self.after(reason=reason).verdict(role, "bent", **options)
