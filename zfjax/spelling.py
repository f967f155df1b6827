"""Signatures of public functions that take many words: written once, as a dataclass's fields."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

Function = TypeVar("Function", bound=Callable[..., Any])


def spelled(words: type) -> Callable[[Function], Function]:
    """Gives a function that takes the fields of the dataclass ``words`` as ``**keywords`` the
    signature that spells them out, with their defaults: for help, for completion, and for whoever
    mistypes one, who gets TypeError as of any function.
    """

    def spell(function: Function) -> Function:
        signature = inspect.signature(function)
        own = [
            parameter
            for parameter in signature.parameters.values()
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        fields = [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=field.default,
                annotation=field.type,
            )
            for field in dataclasses.fields(words)
        ]
        whole = signature.replace(parameters=[*own, *fields])

        @functools.wraps(function)
        def called(*arguments: Any, **keywords: Any) -> Any:
            whole.bind(*arguments, **keywords)
            return function(*arguments, **keywords)

        called.__signature__ = whole  # type: ignore[attr-defined]
        return cast(Function, called)

    return spell
