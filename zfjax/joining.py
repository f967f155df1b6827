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
from collections import Counter
from collections.abc import Sequence
from typing import Any

import jax

from zfjax.errors import ZfjaxError, first_line
from zfjax.processes import jax_state
from zfjax.waiting import attended

JOIN_SECONDS = 300
"""For which the others are waited for (environment: ZFJAX_JOIN_SECONDS)."""
LEAVING_SECONDS = 5.0
"""For which those that failed together wait for each other."""
PARTING_SECONDS = 300.0
"""For which those that stop together wait for the one that still saves."""


def join(coordinator: str | None, count: int | None = None, index: int | None = None) -> None:
    """Makes this process one of ``count``, which meet at ``coordinator`` ("host:port" of process
    0), devices counted.

    "auto" leaves all three to JAX, which finds them out under Slurm, Open MPI and on Cloud TPU.
    None: this process is alone. Must come before anything else touches a device. A signal ends the
    wait. Raises ZfjaxError when the others do not come, or an address is none.
    """
    meeting = meeting_of(coordinator, count, index)
    if coordinator is None or meeting is None:
        return
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
        attended(meet, lambda waited: _waiting_words(waited, seconds), most=seconds)
    except BaseException as error:  # a signal too: there is nobody to part from
        with contextlib.suppress(AttributeError):
            jax_state().client = None
        if not isinstance(error, RuntimeError | ValueError | OSError):
            raise
        address = getattr(jax_state(), "coordinator_address", None) or coordinator
        cause = _unresolved(address) or _cause(error, coordinator, seconds)
        raise ZfjaxError(f"The processes did not find each other at {address}: {cause}.") from None

    check_equal_devices([device.process_index for device in jax.devices()])


def meeting_of(
    coordinator: str | None, count: int | None = None, index: int | None = None
) -> dict[str, Any] | None:
    """What ``join`` tells JAX; None for a process that is alone. Raises ZfjaxError for what is said
    by halves.
    """
    if coordinator is None:
        if count is not None or index is not None:
            raise ZfjaxError("--process-count and --process-index need --coordinator HOST:PORT.")
        return None
    if coordinator == "auto":
        return {}
    if count is None or index is None or not 0 <= index < count:
        raise ZfjaxError(
            "--coordinator HOST:PORT needs --process-count N and --process-index I, I from 0 to"
            " N - 1."
        )
    _split_address(coordinator)
    return {"coordinator_address": coordinator, "num_processes": count, "process_id": index}


def check_equal_devices(owners: Sequence[int]) -> None:
    """Raises ZfjaxError where the processes do not have equally many devices: what they compute
    together is cut alike for all. ``owners``: the process of each device.
    """
    counts = Counter(owners)
    if len(set(counts.values())) > 1:
        most = max(counts.values())
        told = ", ".join(
            f"process {index} has {count}"
            for index, count in sorted(counts.items())
            if count != most
        )
        raise ZfjaxError(
            f"The processes need equally many devices each, and {told} where others have {most}:"
            " show each as many (CUDA_VISIBLE_DEVICES, ROCR_VISIBLE_DEVICES, JAX_NUM_CPU_DEVICES)."
        )


def _cause(error: Exception, coordinator: str, seconds: float) -> str:
    """Why the processes did not meet, in words that say what to do."""
    if isinstance(error, TimeoutError):
        return f"not all came within {seconds:.0f} s (environment: ZFJAX_JOIN_SECONDS)"
    if coordinator == "auto" and "should be defined" in str(error):
        return "JAX sees no Slurm, Open MPI or Cloud TPU here; give --coordinator HOST:PORT"
    if "Failed to start RPC server" in str(error):
        return "its port is taken, or not this machine's; choose another"
    return first_line(error).rstrip(".")


def _waiting_words(waited: float, seconds: float) -> str:
    """Who is waited for, where, since when, and what stands in the way."""
    state = jax_state()
    count, index = getattr(state, "num_processes", None), getattr(state, "process_id", None)
    who = f"the {count} processes to meet" if count else "the other processes"
    own = "" if index is None else f", this is process {index}"
    address = getattr(state, "coordinator_address", None)
    where = f" at {address}" if address else ""
    trouble = _unresolved(address or "")
    more = f"; {trouble}" if trouble else ""
    return f"waiting for {who}{where}{own} ({waited:.0f} s, at most {seconds:.0f} s){more}."


def _split_address(address: str) -> tuple[str, int]:
    """(host, port) of "host:port" or "[v6]:port". Raises ZfjaxError for what is neither."""
    host, colon, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or "/" in host or not port.isdecimal() or not 0 < int(port) < 65536:
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
