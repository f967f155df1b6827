"""A probe for who needs no measure of it: gathered by the same pass as the measures'."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from zfjax.errors import ZfjaxError
from zfjax.features.searching import Errand, ride_on
from zfjax.files import clear_unfinished
from zfjax.measures.boarding import PROBE_FILE, take_aboard
from zfjax.measures.planning import Chosen, Plan, Wanted, plan_of
from zfjax.measures.probing import KINDS, Probing
from zfjax.measures.protocol import Looked, Measure, NoOptions, Quantity, Told
from zfjax.measures.running import plan_of_run
from zfjax.progress import Progress, tell_nobody
from zfjax.run.adopted import AdoptedRun
from zfjax.run.folder import Run, locked_run
from zfjax.run.measured import Measured
from zfjax.run.probe import Probe
from zfjax.subject import Subject
from zfjax.values import Place


def _rows(looked: Looked, options: NoOptions) -> Iterator[Quantity]:
    return iter(())


def _tell(measured: Measured, others: object, options: NoOptions) -> Told:
    return Told("")


_PROBED = Chosen(Measure("probe", _rows, _tell, probe=KINDS), NoOptions())
"""Nothing but the probe, with all that the measures take from one."""


def probe_plan(
    run: Run | AdoptedRun | Subject,
    wanted: Wanted,
    data_dir: Place | None = None,
    progress: Progress | None = None,
) -> Plan:
    """The pass that gathers a probe, checked; nothing is run. Raises ZfjaxError for what the run
    or its data do not have.
    """
    if isinstance(run, Run | AdoptedRun):
        return plan_of_run(run, [_PROBED], wanted, data_dir, progress)
    split = run.need("images", "A probe").split
    if wanted.split not in (None, split):
        raise ZfjaxError(
            f"A subject's images are of split {split!r}, and the others were looked at on split"
            f" {wanted.split!r}: give it those."
        )
    return plan_of(run, [_PROBED], wanted)


def gather_probe(
    plan: Plan, folder: Path, home: Path | None = None, progress: Progress = tell_nobody
) -> Probe:
    """Gathers the probe of a plan of ``probe_plan`` into ``folder``; at once where it is there.
    ``home``: the run's folder, whose lock is taken.
    """
    with ExitStack() as lock:
        if home is not None:
            lock.enter_context(locked_run(home))
        folder.mkdir(parents=True, exist_ok=True)
        clear_unfinished(folder, locked=home is not None)
        boarded = take_aboard(plan, folder)
        if boarded.kept is not None:
            return boarded.kept
        [probing] = (each for each in boarded.company.riders if isinstance(each, Probing))
        asked = {**plan.probed(), "steps": list(plan.steps), "layers": list(plan.layers)}
        errand = Errand(folder / "pass.npz", asked, plan.images, "probing")
        subject = plan.subject.holding(plan.steps)
        ride_on(subject, plan.route, plan.ids.tolist(), errand, [probing], progress)
        probe = probing.finish(folder / PROBE_FILE, plan.probed())
        probing.drop()
        errand.path.unlink(missing_ok=True)
        return probe
