"""A network by the words that a person gives: ``pkg.module:build`` or ``file.py:build``."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.errors import InvalidRngError, ModifyScopeVariableError

from zfjax.errors import ZfjaxError
from zfjax.files import local_path
from zfjax.network.descent import Statistics
from zfjax.network.modules import TORCH, Pieces, PureModule, called, is_network, kind_of, purified
from zfjax.network.tracing import Model, model_of, reading_of


@dataclass(frozen=True)
class Looking:
    """How somebody's network is looked at."""

    input_size: tuple[int, int]
    """(height, width) in pixels."""
    channels: int = 3
    smooth: tuple[str, ...] = ()
    statistics: Statistics = "rule"


def built(words: str) -> Any:
    """What the build function, or the module's class, named by ``words`` returns: a Linen module,
    a ``PureModule`` of one of NNX or Equinox, or a function ``features(parameters, inputs)``. The
    current folder is on the import path. Raises ZfjaxError for words, a module or a function that
    is not there, with its own error where it fails, and for what is none of these.
    """
    source, _, name = words.rpartition(":")
    if not source or not name:
        raise ZfjaxError(
            f"--model {words!r} must be pkg.module:build or file.py:build, the name of a function"
            " that returns the network."
        )
    module = _module(words, source)
    build = getattr(module, name, None)
    if not callable(build):
        there = [key for key, value in vars(module).items() if callable(value) and key[0] != "_"]
        raise ZfjaxError(
            f"--model {words}: {source} has no function {name!r}; it has"
            f" {', '.join(there) or 'none'}."
        )
    network = own_errors(f"--model {words}: {name}() failed", lambda: called(build))
    if not is_network(network) and kind_of(network) == TORCH:
        raise ZfjaxError(
            f"--model {words}: {name}() returns a module of {TORCH}; return a module of Linen, NNX"
            " or Equinox, or a function features(parameters, inputs)."
        )
    if not is_network(network) and not callable(network):
        raise ZfjaxError(
            f"--model {words}: {name}() returns {type(network).__name__}; it must return a Linen"
            " module, one of NNX or Equinox, or a function features(parameters, inputs)."
        )
    return network_in(network, f"--model {words}")


def network_in(model: Any, words: str) -> Any:
    """A Linen module, a ``PureModule`` of one of NNX or Equinox (of the class too, where it needs
    no more than ``called`` gives), or a function. Raises ZfjaxError, called ``words``, for a module
    that cannot be made so.
    """
    if isinstance(model, type):
        model = own_errors(f"{words} cannot be built", lambda: called(model))
    return own_errors(f"{words} cannot be taken apart", lambda: purified(model))


def _module(words: str, source: str) -> Any:
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    if not source.endswith(".py"):
        return own_errors(
            f"--model {words}: {source} cannot be imported", lambda: importlib.import_module(source)
        )
    path = local_path(source)
    if not path.is_file():
        raise ZfjaxError(f"--model {words}: there is no file {path}.")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)
    run: Any = spec.loader.exec_module
    own_errors(f"--model {words}: {path} cannot be run", lambda: run(module))
    return module


def own_errors(words: str, action: Callable[[], Any]) -> Any:
    """What ``action`` returns, which is code of the user's. Raises ZfjaxError: our line, and below
    it the error that it raised, with the line where it did.
    """
    try:
        return action()
    except ZfjaxError:
        raise
    except Exception as error:
        frames = [
            frame
            for frame in traceback.extract_tb(error.__traceback__)
            if frame.filename != __file__ and "importlib" not in frame.filename
        ]
        own = [frame for frame in frames if "site-packages" not in frame.filename] or frames
        where = f" ({Path(own[-1].filename).name}:{own[-1].lineno})" if own else ""
        said = str(error).strip() or "no words"
        raise ZfjaxError(f"{words}:\n{type(error).__name__}: {said}{where}") from None


def expected_pieces(words: str, network: Any, looking: Looking) -> Pieces | None:
    """Shapes and dtypes of a module's variables, of Linen by its ``init``; nothing is run. None for
    a function: what parameters it takes is known from its checkpoints alone.
    """
    if isinstance(network, PureModule):
        return network.pieces
    if not isinstance(network, nn.Module):
        return None
    images = jnp.zeros((1, *looking.input_size, looking.channels))
    tree = own_errors(
        f"--model {words}: its variables cannot be initialised on images of"
        f" {'x'.join(map(str, images.shape))}",
        lambda: jax.eval_shape(network.init, jax.random.key(0), images),
    )
    return (("", tree),)


def model_named(words: str, network: Any, variables: Any, looking: Looking) -> Model:
    """The model of what ``built`` returned, traced once. Raises ZfjaxError where it cannot be: for
    variables of other shapes than it takes, in training mode, with its own error.
    """
    model = model_of(
        network,
        variables,
        looking.input_size,
        name=_title(words, network),
        smooth=looking.smooth,
        statistics=looking.statistics,
    )
    model = dataclasses.replace(model, channels=looking.channels)
    own_errors(f"--model {words} cannot be run on its variables", lambda: _read(model))
    return model


def _read(model: Model) -> None:
    """Linen has errors of its own for a module that draws or updates: they say what was not given
    to it, and not that it is in training mode.
    """
    try:
        reading_of(model)
    except (InvalidRngError, ModifyScopeVariableError) as error:
        error.args = (
            f"{str(error).partition(' (https://')[0]}\nThis looks like training mode; build the"
            " network in evaluation mode: without dropout, with stored statistics",
        )
        raise


def _title(words: str, network: Any) -> str:
    if isinstance(network, PureModule):
        return network.name
    return "" if isinstance(network, nn.Module) else words.rpartition(":")[2]
