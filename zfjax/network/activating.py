"""Activations in a traced network, however they are spelled: ReLUs, and smooth ones that are x *
f(x) or a tanh. Max-pools that have switches.
"""

from __future__ import annotations

from zfjax.network.equations import Equation, Value
from zfjax.network.meanings import SMOOTH, Case, Graph, Meaning, Role, Verdict
from zfjax.network.spans import COLUMNS, ROWS

WIDEST = 11
"""Of a max-pool: its switches are int8."""


def rectified(equation: Equation, graph: Graph) -> int | None:
    """Which input is the x of a ReLU: max(x, 0), where(x > 0, x, 0), x * (x > 0); None where it is
    none.
    """
    inputs, operation = equation.inputs, equation.operation
    if operation == "zfjax.relu":
        return 0
    if operation == "max":
        zeros = [i for i, value in enumerate(inputs) if value.number == 0]
        return 1 - zeros[0] if len(zeros) == 1 else None
    if operation == "clamp" and inputs[0].number == 0:
        return 1
    if operation == "mul":
        for index in (0, 1):
            if _positive(inputs[1 - index], graph) == (inputs[index], True):
                return index
    if operation == "select_n" and len(inputs) == 3:
        signal, when = _positive(inputs[0], graph)
        kept, other = (2, 1) if when else (1, 2)
        if signal is inputs[kept] and inputs[other].number == 0:
            return kept
    return None


def _positive(value: Value, graph: Graph) -> tuple[Value | None, bool]:
    """(x, whether it says x > 0 or the opposite) of a comparison of x with 0."""
    equation = graph.made_by.get(value)
    while equation is not None and equation.operation == "convert_element_type":
        equation = graph.made_by.get(equation.inputs[0])
    if equation is None or equation.operation not in ("gt", "ge", "lt", "le"):
        return None, False
    left, right = equation.inputs
    above = equation.operation in ("gt", "ge")
    if right.number == 0:
        return left, above
    return (right, not above) if left.number == 0 else (None, False)


def activated(case: Case, signal: int, role: Role, reason: str = "") -> Verdict:
    """An activation of input ``signal``: a layer, where that is maps and no part of a statistic."""
    own = case.operands[signal]
    case = case.after(name=own.name, order=own.order, reason=own.reason)
    if own.kind in ("statistic", "energy"):
        if own.averaged or not own.sight.spatial:
            return case.verdict("of statistics", "statistic")
        reason = f"a statistic of {own.reason}"
    if own.averaged and own.kind == "bent":
        return case.bent()
    layer = (reason or own.reason) if case.result.sight.spatial else None
    return case.verdict(role, own.kind, main=signal, layer=layer)


def gated(case: Case) -> Verdict | None:
    """x * f(x): GELU, SiLU and their like, which have a rule by choice; None for another product
    of maps.
    """
    index = 1 if case.operands[0].bend else 0
    main, gate = case.operands[index], case.operands[1 - index]
    if main.root is None or main.root is not gate.root or main.bend or not gate.bend:
        return None
    names = [name for name, known in SMOOTH.items() if gate.bend in known and name != "tanh"]
    if any(name in case.smooth for name in names):
        return activated(case, index, "frozen gate")
    bent = case.after(reason=main.reason).bent(f"{names[0] if names else 'a gate'},")
    return _without_a_rule(case, bent, main)


def hyperbolic(case: Case) -> Verdict | None:
    """A tanh that is an activation, which has a rule by choice; None for a part of a gate."""
    if case.operation != "tanh" or case.first.bend or not _acts(case):
        return None
    if "tanh" in case.smooth:
        return activated(case, 0, "tanh")
    return _without_a_rule(case, case.bent(), case.first)


def _without_a_rule(case: Case, bent: Verdict, main: Meaning) -> Verdict:
    """A layer all the same: it can be searched, and projected by the gradient."""
    spatial = case.result.sight.spatial and not main.averaged
    layer = bent.meaning.reason if spatial else None
    meaning = case.after(name=main.name, order=main.order, reason=bent.meaning.reason)
    return meaning.verdict("no rule", "bent", layer=layer)


def _acts(case: Case) -> bool:
    """Whether a tanh is an activation of its own: it scales nothing that it is made of."""
    root, graph = case.first.root, case.graph
    below = list(graph.users.get(case.equation.output, ()))
    while below:
        user = below.pop()
        others = [value for value in user.inputs if value.number is None]
        if user.operation == "mul" and any(_reaches(value, root, graph) for value in others):
            return False
        if user.operation in ("add", "mul", "convert_element_type") and len(others) == 1:
            below += graph.users.get(user.output, ())
    return True


def _reaches(value: Value, root: Value | None, graph: Graph) -> bool:
    """Whether a value is ``root`` but for scale and dtype."""
    while value is not root:
        made = graph.made_by.get(value)
        others = [] if made is None else [each for each in made.inputs if each.number is None]
        plain = ("mul", "div", "neg", "convert_element_type", "copy")
        if made is None or made.operation not in plain or len(others) != 1:
            return False
        value = others[0]
    return True


def odd_pool(case: Case) -> str:
    """Why a max-pool has no switches here; empty where it has."""
    params, sight = case.equation.params, case.first.sight
    if case.operation == "zfjax.max_pool":
        return ""
    places = [sight.array_axis(axis) for axis in (ROWS, COLUMNS)]
    own = [i for i, size in enumerate(params["window_dimensions"]) if size > 1]
    if not sight.spatial or any(i not in places for i in own):
        return "a maximum over maps,"
    if any(params[name][i] > 1 for name in ("window_dilation", "base_dilation") for i in own):
        return "a dilated pool,"
    sizes = {
        (params["window_dimensions"][i], params["window_strides"][i])
        for i in places
        if i is not None
    }
    if len(sizes) > 1 or max(size for size, _ in sizes) > WIDEST:
        return f"a pool that is not square or wider than {WIDEST},"
    return ""
