"""Where values of a traced network meet: sums, products, statistics that scale maps, and what is
not linear.
"""

from __future__ import annotations

from zfjax.network.activating import gated, hyperbolic
from zfjax.network.meanings import OF_SOFTPLUS, Case, Kind, Verdict
from zfjax.network.naming import Names


def added(case: Case, names: Names) -> Verdict:
    """A sum, or maps side by side. Where branches meet, the layer that follows is the block's."""
    live = [case.operands[i] for i in case.live]
    if len({own.name for own in live if own.kind in ("map", "bent")}) > 1:
        latest = max(live, key=lambda own: own.order)
        name = names.of_block(case.equation.scope, latest.name)
        order = latest.order if name == latest.name else case.index
        case = case.after(name=name, order=order)
    if len(live) == 1:
        return _with_a_constant(case)
    averaged = [own for own in live if own.averaged and own.kind in ("map", "statistic")]
    if case.kinds == {"map"} and len(averaged) in (0, len(live)):
        return case.verdict("linear", "map")
    if case.kinds == {"energy"}:
        return case.verdict("linear", "energy")
    if case.kinds == {"energy", "statistic"}:
        return case.verdict("of statistics", "statistic")
    return _combined(case)


def _with_a_constant(case: Case) -> Verdict:
    """A bias, a scale, a mask, zeros beside maps."""
    own, joined = case.first, case.operation in ("concatenate", "stack")
    kind: Kind = "statistic" if own.kind == "energy" and joined else own.kind
    others = [value for i, value in enumerate(case.equation.inputs) if i not in case.live]
    scalar = not joined and all(value.number is not None for value in others)
    root = own.root if scalar else case.result.root
    return case.after(root=root, bend=own.bend).verdict("linear", kind)


def scaled(case: Case) -> Verdict:
    """A product or quotient."""
    inputs, live = case.equation.inputs, case.live
    if len(live) == 1:
        return _with_a_constant(case)
    if case.operation == "mul" and inputs[0] is inputs[1] and case.first.kind in ("map", "energy"):
        reason = case.first.reason or str(case.equation)
        return case.after(reason=reason).verdict("linear", "energy")
    if case.kinds <= {"energy", "statistic"}:
        return case.verdict("linear", "energy")
    if case.operation == "mul" and case.kinds in ({"map", "bent"}, {"bent"}):
        return gated(case) or bending(case)
    return _combined(case)


def _combined(case: Case) -> Verdict:
    """A map with a statistic of maps, which is frozen on the way down."""
    live = case.live
    maps = [i for i in live if case.operands[i].kind == "map" and not case.operands[i].averaged]
    others = [case.operands[i] for i in live if i not in maps]
    if case.operation == "mul" and case.kinds == {"map"} and not others:
        return case.bent("a product of two maps,")
    frozen = all(own.kind == "statistic" or (own.averaged and own.kind == "map") for own in others)
    if len(maps) != 1 or not frozen or (case.operation == "div" and maps != [0]):
        return bending(case)
    local = any(not own.averaged and own.sight.spatial for own in others)
    if local and case.operation not in ("mul", "div"):
        return case.bent("a statistic that is not a mean is added,")
    main = case.operands[maps[0]]
    case = case.after(name=main.name, order=main.order)
    return case.verdict("contrast norm" if local else "frozen statistic", "map", main=maps[0])


def bending(case: Case) -> Verdict:
    """A non-linear operation: of energies and statistics more of them, of maps a bent value."""
    live, operation = case.live, case.operation
    first = next((case.operands[i] for i in live if case.operands[i].kind == "bent"), case.first)
    roots = {case.operands[i].root for i in live}
    root = roots.pop() if len(roots) == 1 else case.equation.output
    bend = operation if operation not in ("add", "sub", "mul", "div") else first.bend
    if operation == "tanh" and first.bend:
        bend = _tanh_of(first.bend)
    case = case.after(root=root, bend=bend, reason=first.reason)
    if case.kinds == {"map"} and _even(case):
        return case.after(reason=str(case.equation)).verdict("linear", "energy")
    if case.kinds == {"energy"} and (len(live) == 1 or operation in ("max", "min")):
        return case.verdict("linear", "energy")
    if operation == "custom_vjp_call" and case.kinds == {"map"}:
        return case.verdict("own rule", "map")
    if case.kinds == {"statistic"}:
        return case.verdict("of statistics", "statistic")
    return hyperbolic(case) or case.bent()


def _tanh_of(bend: str) -> str:
    """What a tanh of a non-linear value is called: GELU's is of a cubic, Mish's of log(1 + e^x)."""
    if bend in ("integer_pow", "pow", "square"):
        return "tanh"
    return OF_SOFTPLUS if bend in ("log1p", "log", "custom_jvp_call") else f"tanh of {bend}"


def _even(case: Case) -> bool:
    """Whether it is a square or a magnitude of one value."""
    operation, inputs = case.operation, case.equation.inputs
    if operation == "integer_pow":
        return case.equation.params["y"] % 2 == 0
    if operation == "pow":
        number = inputs[1].number
        return case.live == (0,) and number is not None and number % 2 == 0
    return operation in ("square", "abs")
