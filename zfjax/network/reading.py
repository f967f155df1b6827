"""A traced network, read from the images up: what each value is, what each equation is, which
values are layers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from zfjax.errors import ZfjaxError
from zfjax.network.activating import activated, odd_pool, rectified
from zfjax.network.combining import added, bending, scaled
from zfjax.network.equations import Equation, Trace, Value
from zfjax.network.meanings import Case, Graph, Kind, Meaning, Role, Verdict
from zfjax.network.naming import Names
from zfjax.network.spans import (
    COLUMNS,
    ROWS,
    Axis,
    Sight,
    Span,
    like_an_input,
    of_leaf,
    picked,
    sight,
)

MIXING = ("conv_general_dilated", "dot_general", "zfjax.conv")
SLIDING = ("reduce_window_sum", "slice", "pad", "cumsum", "split")
MOVING = (
    "reshape", "transpose", "broadcast_in_dim", "squeeze", "expand_dims", "neg", "copy", "real",
    "copy_p", "reduce_precision", "optimization_barrier", "sharding_constraint", "rev",
    "convert_element_type", "device_put", *SLIDING,
)  # fmt: skip
"""Linear in their first input; others, if any, are constants."""
FOLLOWED = (*MIXING, *MOVING, "concatenate")
"""Operations of which is known where each image goes."""
RANDOM = ("random_bits", "random_seed", "random_wrap", "threefry2x32", "rng_bit_generator")


@dataclass(frozen=True)
class Site:
    """A value that can be looked at."""

    name: str
    value: Value
    reason: str
    """Why a signal cannot come down from it; empty where it can."""
    module: str
    """Where the kernel of the convolution stands that it comes from; of a sum of branches, the
    block.
    """


@dataclass(frozen=True)
class Reading:
    """A trace, understood."""

    trace: Trace
    graph: Graph
    meanings: Mapping[Value, Meaning]
    roles: Mapping[Equation, Role]
    main: Mapping[Equation, int]
    """Of combinations: which input is the map."""
    activations: tuple[Site, ...]
    """Values that a rule treats: the layers."""
    convolutions: tuple[Site, ...]
    """Those without an activation of their own."""


def read(trace: Trace, smooth: Iterable[str] = ()) -> Reading:
    """What the equations of ``trace`` mean. ``smooth``: activations of SMOOTH that are given a
    rule. Raises ZfjaxError for a network that draws random numbers or is in training mode.
    """
    graph, names = _graph_of(trace), Names([value.leaf for value in trace.parameters])
    axes: list[Axis] = ["images", Span(ROWS), Span(COLUMNS)]
    axes += [None] * (len(trace.images.shape) - 3)
    images = Meaning("map", Sight(tuple(axes)), root=trace.images, name="input")
    meanings: dict[Value, Meaning] = {trace.images: images}
    verdicts: dict[Equation, Verdict] = {}
    needed = set(trace.needed_for(list(trace.outputs.values())))
    for index, equation in enumerate(trace.equations):
        for value in equation.inputs:  # a parameter or known constant is met for the first time
            meanings.setdefault(value, Meaning("constant", of_leaf(value)))
        operands = tuple(meanings[value] for value in equation.inputs)
        if equation in needed:  # a key may be split, for a dropout that is off
            _check_mode(equation, operands)
        seen = sight(equation, [own.sight for own in operands])
        if all(own.kind == "constant" for own in operands):
            meanings.update((out, Meaning("constant", seen)) for out in equation.outputs)
            continue
        case = _case(equation, operands, seen, graph, tuple(smooth), index)
        verdicts[equation] = verdict = _understood(case, names)
        for out in equation.outputs:
            own = seen
            if len(equation.outputs) > 1 and equation.operation != "split":
                own = like_an_input(equation, [each.sight for each in operands], out)
            meaning = dataclasses.replace(verdict.meaning, sight=own)
            if len(equation.outputs) > 1:  # halves of a split are two values: a * sigmoid(b)
                meaning = dataclasses.replace(meaning, root=out)
            meanings[out] = meaning
    layers, bare = _sites(trace, graph, meanings, verdicts)
    return Reading(
        trace,
        graph,
        meanings,
        {equation: each.role for equation, each in verdicts.items() if each.role is not None},
        {equation: each.main for equation, each in verdicts.items()},
        layers,
        bare,
    )


def _graph_of(trace: Trace) -> Graph:
    made_by = {out: equation for equation in trace.equations for out in equation.outputs}
    users: dict[Value, list[Equation]] = {}
    for equation in trace.equations:
        for value in equation.inputs:
            users.setdefault(value, []).append(equation)
    return Graph(made_by, users)


def _check_mode(equation: Equation, operands: tuple[Meaning, ...]) -> None:
    if equation.operation in RANDOM:
        raise ZfjaxError(
            f"The network draws random numbers ({equation}); build it in evaluation mode, without"
            " dropout or sampling."
        )
    gone = equation.params.get("axes", ()) if equation.operation.startswith("reduce_") else ()
    if any(operands[0].sight.axes[axis] == "images" for axis in gone):
        raise ZfjaxError(
            f"The network takes statistics over the images of a batch ({equation}): it is in"
            " training mode; build it in evaluation mode, with stored statistics."
        )


def _case(
    equation: Equation,
    operands: tuple[Meaning, ...],
    seen: Sight,
    graph: Graph,
    smooth: tuple[str, ...],
    index: int,
) -> Case:
    live = [own for own in operands if own.kind != "constant"]
    result = dataclasses.replace(
        live[0],
        sight=seen,
        bend="",
        root=equation.output,
        averaged=all(own.averaged for own in live),
    )
    return Case(equation, operands, result, graph, smooth, index)


def _understood(case: Case, names: Names) -> Verdict:
    live, operation, first = case.live, case.operation, case.first
    if "images" in first.sight.axes and "images" not in case.result.sight.axes:
        followed = operation in FOLLOWED or operation.startswith("reduce_")
        return case.bent("images of a batch are mixed by" if followed else "")
    if operation in MIXING:
        return _mixed(case, names)
    if live == (0,) and (operation in MOVING or _picks(case)):
        return _moved(case)
    if operation.startswith("reduce_") and "axes" in case.equation.params:
        if any(isinstance(first.sight.axes[axis], Span) for axis in case.equation.params["axes"]):
            return case.verdict("of statistics", "statistic")
    if operation == "reduce_sum":
        return _summed(case)
    if operation in ("zfjax.max_pool", "reduce_window_max"):
        return _pooled(case)
    if operation == "zfjax.norm":
        return case.verdict("contrast norm", first.kind)
    if (signal := rectified(case.equation, case.graph)) is not None:
        return activated(case, signal, "relu")
    if operation == "min" and len(live) == 1:
        return case.verdict("clip", first.kind, main=live[0])
    if case.kinds == {"statistic"}:
        return case.verdict("of statistics", "statistic")
    if operation in ("add", "sub", "add_any", "concatenate", "stack"):
        return added(case, names)
    if operation == "mul" or (operation == "div" and 0 in live):
        return scaled(case)
    if operation == "select_n" and 0 not in live:
        return added(case, names)
    return bending(case)


def _picks(case: Case) -> bool:
    """Whether it picks rows or columns by constant numbers, so is linear."""
    seen = [own.sight for own in case.operands]
    return case.operation == "gather" and picked(case.equation, seen) is not None


def _mixed(case: Case, names: Names) -> Verdict:
    """A convolution or a matrix product: linear with constant weights."""
    if len(case.live) > 1:
        if case.kinds == {"statistic"}:
            return case.verdict("of statistics", "statistic")
        return case.bent("a product of two maps,")
    if case.operation != "dot_general" and case.live != (0,):
        return case.bent("a kernel that depends on the image,")
    weights = case.graph.leaves(case.equation.inputs[1 - case.live[0]])
    case = case.after(name=names.of_kernel(weights), order=case.index, averaged=False)
    kind: Kind = "statistic" if case.first.kind == "energy" else case.first.kind
    return case.verdict("linear", kind, convolution=case.result.sight.spatial)


def _moved(case: Case) -> Verdict:
    equation, first = case.equation, case.first
    same = case.operation in ("neg", "copy", "convert_element_type")
    kind: Kind = first.kind
    shape, before = equation.output.shape, equation.inputs[0].shape
    if kind == "energy" and case.operation in SLIDING:
        across = [i for i in first.sight.features if i < len(shape) and shape[i] != before[i]]
        window = equation.params.get("window_dimensions", (1,) * len(shape))
        if across or any(size > 1 for size in window) or case.operation == "cumsum":
            kind = "statistic"
    root = first.root if same else case.result.root
    role: Role = "of statistics" if kind == "statistic" else "linear"
    return case.after(root=root, bend=first.bend).verdict(role, kind)


def _summed(case: Case) -> Verdict:
    """A sum over maps. What has maps left is a map like any other; what has none is a mean."""
    kind: Kind = "statistic" if case.first.kind == "energy" else case.first.kind
    left = any(case.equation.output.shape[i] > 1 for i in case.result.sight.features)
    role: Role = "of statistics" if kind == "statistic" else "linear"
    return case.after(averaged=not left).verdict(role, kind)


def _pooled(case: Case) -> Verdict:
    if case.first.kind == "energy":
        return case.verdict("of statistics", "statistic")
    words = odd_pool(case)
    if words and case.first.kind == "statistic":
        return case.verdict("of statistics", "statistic")
    return case.bent(words) if words else case.verdict("max pool", case.first.kind)


def _sites(
    trace: Trace,
    graph: Graph,
    meanings: Mapping[Value, Meaning],
    verdicts: Mapping[Equation, Verdict],
) -> tuple[tuple[Site, ...], tuple[Site, ...]]:
    """Activations, and convolutions that have none, by name."""
    returned = {
        value: name for name, value in trace.outputs.items() if name and not name.isdecimal()
    }
    names, taken = Names([]), set[str]()
    layers, bare = [], []
    for equation, verdict in verdicts.items():
        if verdict.layer is None:
            continue
        value, users = equation.output, graph.users.get(equation.output, ())
        if len(users) == 1 and users[0] in verdicts and verdicts[users[0]].role == "clip":
            value = users[0].output  # relu6: its value is the clipped one
        own = verdict.meaning.name
        name = names.unique(returned.get(value, own), taken)
        layers.append(Site(name, value, verdict.layer, own if value in returned else name))
    owned = {each.meaning.order for each in verdicts.values() if each.layer is not None}
    for equation, verdict in verdicts.items():
        if verdict.convolution and verdict.meaning.order not in owned:
            value = _biased(equation.output, graph, meanings)
            name = names.unique(verdict.meaning.name, taken)
            bare.append(Site(name, value, meanings[value].reason, name))
    return tuple(layers), tuple(bare)


def _biased(value: Value, graph: Graph, meanings: Mapping[Value, Meaning]) -> Value:
    """A convolution's value with its bias, where one is added at once."""
    users = graph.users.get(value, ())
    if len(users) == 1 and users[0].operation == "add":
        kinds = [meanings[each].kind for each in users[0].inputs]
        if kinds.count("constant") == 1:
            return users[0].output
    return value
