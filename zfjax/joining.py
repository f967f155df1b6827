"""How one process becomes one of many, and how it parts from them.

What meets and parts waits in C++, where no signal is heard: it is asked to from a thread of its
own, while the main thread listens, says who is waited for and where, and leaves at once when it is
told to.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import jax

from zfjax.errors import ZfjaxError

JOIN_SECONDS = 300
"""For which the others are waited for (environment: ZFJAX_JOIN_SECONDS)."""
LEAVING_SECONDS = 5.0
"""For which those that failed together wait for each other."""
PARTING_SECONDS = 300.0
"""For which those that stop together wait for the one that still saves."""
_SAY_AFTER, _SAY_EVERY = 5.0, 60.0


def join(coordinator: str | None, count: int | None = None, index: int | None = None) -> None:
    """Makes this process one of ``count``, which meet at ``coordinator`` ("host:port" of process
    0), devices counted.

    "auto" leaves all three to JAX, which finds them out under Slurm, Open MPI and on Cloud TPU.
    None: this process is alone. Must come before anything else touches a device. A signal ends the
    wait. Raises ZfjaxError when the others do not come, or an address is none.
    """
    if coordinator is None:
        if count is not None or index is not None:
            raise ZfjaxError("--process-count and --process-index need --coordinator HOST:PORT.")
        return
    meeting: dict[str, Any] = {}
    if coordinator != "auto":
        if count is None or index is None or not 0 <= index < count:
            raise ZfjaxError(
                "--coordinator HOST:PORT needs --process-count N and --process-index I, I from 0 to"
                " N - 1."
            )
        _split_address(coordinator)
        meeting = {"coordinator_address": coordinator, "num_processes": count, "process_id": index}
    # JAX's own notice of SIGTERM would take ours away, and nobody asks it.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        seconds = int(os.environ.get("ZFJAX_JOIN_SECONDS", JOIN_SECONDS))
    except ValueError:
        raise ZfjaxError(
            "The environment's ZFJAX_JOIN_SECONDS must be a number of seconds."
        ) from None

    def meet() -> None:
        # Longer than this process waits: at its own time limit JAX ends the process with a page of
        # addresses.
        jax.distributed.initialize(**meeting, initialization_timeout=seconds + 600)
        jax.devices()  # the first look at them waits for all processes as well

    try:
        _listening(meet, seconds)
    except BaseException as error:  # a signal too: there is nobody to part from
        with contextlib.suppress(AttributeError):
            _jax_state().client = None
        if not isinstance(error, RuntimeError | ValueError | OSError):
            raise
        address = getattr(_jax_state(), "coordinator_address", None) or coordinator
        cause = _unresolved(address) or (str(error).splitlines() or [""])[0][:200].rstrip(".")
        raise ZfjaxError(f"The processes did not find each other at {address}: {cause}.") from None


def _listening(meet: Callable[[], None], seconds: float) -> None:
    """``meet()`` in a thread, while this one hears signals and says what is waited for. Raises what
    it raises, and TimeoutError after so many seconds.
    """
    failed: list[BaseException] = []

    def work() -> None:
        try:
            meet()
        except BaseException as error:  # noqa: BLE001 (raised again in the thread that waits)
            failed.append(error)

    worker = threading.Thread(target=work, name="join", daemon=True)
    worker.start()
    begun, say_at = time.monotonic(), _SAY_AFTER
    while worker.is_alive():
        worker.join(0.1)
        waited = time.monotonic() - begun
        if waited > seconds:
            raise TimeoutError(
                f"not all came within {seconds:.0f} s (environment: ZFJAX_JOIN_SECONDS)"
            )
        if waited > say_at and worker.is_alive():
            say_at += _SAY_EVERY
            print(f"zfjax: {_waiting_words(waited, seconds)}", file=sys.stderr, flush=True)
    if failed:
        raise failed[0]


def _waiting_words(waited: float, seconds: float) -> str:
    """Who is waited for, where, since when, and what stands in the way."""
    state = _jax_state()
    count, index = getattr(state, "num_processes", None), getattr(state, "process_id", None)
    who = f"the {count} processes to meet" if count else "the other processes"
    own = "" if index is None else f", this is process {index}"
    address = getattr(state, "coordinator_address", None)
    where = f" at {address}" if address else ""
    trouble = _unresolved(address or "")
    more = f"; {trouble}" if trouble else ""
    return f"waiting for {who}{where}{own} ({waited:.0f} s, at most {seconds:.0f} s){more}."


def _jax_state() -> Any:
    """What JAX knows of the processes so far: private, and only used to say more than "waiting"."""
    with contextlib.suppress(ImportError, AttributeError):
        from jax._src import distributed

        return distributed.global_state
    return None


def _split_address(address: str) -> tuple[str, int]:
    """(host, port) of "host:port" or "[v6]:port". Raises ZfjaxError for what is neither."""
    host, colon, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ZfjaxError(f"--coordinator {address!r} must be HOST:PORT of process 0, or 'auto'.")
    return host, int(port)


def _unresolved(address: str) -> str:
    """In words that the host of ``address`` has no address here; "" when it has."""
    try:
        host, port = _split_address(address)
        socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except ZfjaxError:
        return ""
    except (OSError, UnicodeError):
        return (
            f"the name {host} of process 0 does not resolve to an address on this machine"
            f" ({socket.gethostname()})"
        )
    return ""


def leave(status: int, fault: Exception | None = None, seconds: float = LEAVING_SECONDS) -> None:
    """Ends this process at once with ``status`` when it is one of many. It has failed, and the
    others may wait for it in a sum it will never join, while at a Python program's end JAX waits
    minutes for them. Those that failed together part in order within ``seconds``. After a ``fault``
    of a device there is nothing to wait for, but in process 0, whose end would cut short what the
    others say. A process alone returns.
    """
    if not jax.distributed.is_initialized():
        return
    if fault is None or jax.process_index() == 0:
        parting = threading.Thread(target=jax.distributed.shutdown, daemon=True)
        parting.start()
        parting.join(seconds)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # its reader may be gone
            stream.flush()
    os._exit(status)
