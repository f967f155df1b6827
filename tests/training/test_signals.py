"""One owner of signals and of ``sys.unraisablehook``: what it drops, tells, and leaves alone."""

import signal
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from zfjax.errors import ZfjaxError
from zfjax.run import checkpoint
from zfjax.signals import noted, silence, silent, stopping_gently


@pytest.fixture
def told(monkeypatch):
    """What reaches the hook that was there before ours."""
    heard = []
    monkeypatch.setattr(sys, "unraisablehook", heard.append)
    return heard


def unraisable(error):
    return SimpleNamespace(exc_type=type(error), exc_value=error)


def is_late(complaint):
    return str(complaint.exc_value) == "late"


def is_any(complaint):
    return True


def test_a_filter_holds_as_long_as_it_is_asked_for_and_no_longer(told):
    before = sys.unraisablehook
    with silent(is_any):
        sys.unraisablehook(unraisable(ValueError("meanwhile")))
    assert sys.unraisablehook is before
    with stopping_gently():
        sys.unraisablehook(unraisable(ValueError("a fault of ours")))
        silence(is_late)
        silence(is_late)  # once for all, however often it is said
        sys.unraisablehook(unraisable(RuntimeError("late")))
    for error in (RuntimeError("late"), KeyboardInterrupt(), ValueError("after")):
        sys.unraisablehook(unraisable(error))
    kinds = [type(complaint.exc_value).__name__ for complaint in told]
    assert kinds == ["ValueError", "KeyboardInterrupt", "ValueError"]  # nothing is raised any more


def test_what_orbax_complains_of_after_a_command_is_silent(told):
    checkpoint._orbax.cache_clear()
    with stopping_gently():
        checkpoint._orbax()
    sys.unraisablehook(unraisable(RuntimeError("Event loop is closed")))
    assert not told


IGNORED = """
import os, signal
from zfjax import signals
signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell does for what runs in the background
for own_way in (signals.noted, signals.stopping_gently):
    with own_way() as notice:
        os.kill(os.getpid(), signal.SIGINT)
        assert not (notice and notice())
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
print("went on")
"""


def test_a_signal_that_the_shell_ignores_stays_ignored():
    done = subprocess.run([sys.executable, "-c", IGNORED], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "went on\n"), done.stderr


def test_outside_of_the_main_thread_nothing_is_touched():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT), sys.unraisablehook
    seen = []

    def work():
        for own_way in (noted, stopping_gently):
            with own_way():
                handlers = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
                seen.append((*handlers, sys.unraisablehook))

    worker = threading.Thread(target=work)
    worker.start()
    worker.join()
    assert seen == [before, before]


def test_an_orbax_without_the_function_that_is_replaced_is_refused(tmp_path, monkeypatch):
    from orbax.checkpoint.experimental.v1._src.saving import execution

    try:
        checkpoint._orbax.cache_clear()
        monkeypatch.delattr(execution, "_check_directory_consistency")
        (tmp_path / "1").mkdir()
        for ask in (
            lambda: checkpoint.load(tmp_path / "1"),
            lambda: checkpoint.Saver(tmp_path).save(2, {}),
        ):
            with pytest.raises(ZfjaxError, match="install orbax-checkpoint 0.12.8") as caught:
                ask()
            assert type(caught.value) is ZfjaxError, "no damage"
    finally:
        monkeypatch.undo()
        checkpoint._orbax()
