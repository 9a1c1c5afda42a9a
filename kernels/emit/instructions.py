"""How a function in the language becomes an instruction that kernels can call.

An instruction is written once, and its NumPy twin below it::

    @emits(types.uint64, floats="values limits")
    def below(values, first, limits):
        \"\"\"64-bit mask of the numbers ``values[first : first + 64]`` below `limits` (64,).\"\"\"
        return (values.load(first, 64) < limits.load(0, 64)).mask()

    @below.twin
    def _(values, first, limits):
        return mask_of(values[first : first + 64] < limits[:64])

Kernels see a function of arrays, numbers and records of them (named tuples).  What an argument must
be, and how it reaches the code (arrays as pointers with a shape, numbers as values, records as the
same named tuples of these), is the business of :func:`emits` alone.  A record that is passed whole
costs nothing; its attributes, taken in a kernel, count references.

Another instruction emits it by ``below.body``.  Under ``NUMBA_DISABLE_JIT=1`` the twin runs; tests
and other twins find it as ``below.plain``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic

from .language import Pointer, Value, emitting

# What arrays may be, by the word under which `emits` lists them.
ARRAYS: dict[str, tuple[Any, ...]] = {
    "floats": (types.float32, types.float64),
    "singles": (types.float32,),
    "doubles": (types.float64,),
    "int32s": (types.int32,),
    "int64s": (types.int64,),
    "indices": (types.int32, types.int64),
    "uint16s": (types.uint16,),
    "uint64s": (types.uint64,),
    "flags": (types.boolean,),
}
# And numbers.  Those that are not listed are indices; `real` is of the type of the array before it.
NUMBERS = {
    "single": types.float32,
    "double": types.float64,
    "int32": types.int32,
    "int64": types.int64,
    "mask": types.uint64,
    "flag": types.boolean,
}

INSTRUCTIONS: dict[str, Any] = {}


class _Interpreted:
    """An instruction where nothing is compiled: its twin."""

    plain: Callable[..., Any]

    def __call__(self, *arguments: Any) -> Any:
        return self.plain(*arguments)


def _argument_types(kinds: dict[str, str], found: tuple[Any, ...]) -> list[Any] | None:
    """What arguments are passed as, `kinds` being their words by name; None if they do not fit."""
    passed: list[Any] = []
    real = None
    for word, kind in zip(kinds.values(), found, strict=True):
        if word in ARRAYS or word == "arrays":
            if not isinstance(kind, types.Array) or kind.dtype not in ARRAYS.get(
                word, (kind.dtype,)
            ):
                return None
            real = kind.dtype
            passed.append(kind)
        elif word == "records":
            if not isinstance(kind, (types.BaseNamedTuple, types.NoneType)):
                return None
            passed.append(kind)
        else:
            passed.append(real if word == "real" else NUMBERS.get(word, types.intp))
    return passed


def _unpacked(context: Any, builder: Any, kind: Any, argument: Any) -> Any:
    if isinstance(kind, types.NoneType):
        return None
    if isinstance(kind, types.BaseNamedTuple):
        parts = zip(kind.types, cgutils.unpack_tuple(builder, argument), strict=True)
        return kind.instance_class(*(_unpacked(context, builder, *part) for part in parts))
    if not isinstance(kind, types.Array):
        return Value(argument)
    array = context.make_array(kind)(context, builder, argument)
    shape = [Value(size) for size in cgutils.unpack_tuple(builder, array.shape)]
    return Pointer(array.data, shape=tuple(shape))


def emits(result: Any = types.void, **listed: str) -> Callable[[Callable[..., Any]], Any]:
    """Make an instruction of a function in the language.

    Parameters
    ----------
    result : Numba type
        What it returns.
    **listed : str
        Names of parameters by what they are, a word of :data:`ARRAYS` (or ``arrays``: any) or of
        :data:`NUMBERS` (or ``real``), or ``records``: named tuples of such things, or None.  Those
        that are not listed are indices.
    """
    words = {name: word for word, names in listed.items() for name in names.split()}

    def make(body: Callable[..., Any]) -> Any:
        parameters = list(inspect.signature(body).parameters)
        kinds = {name: words.get(name, "index") for name in parameters}
        if not words.keys() <= kinds.keys():
            raise TypeError(f"{body.__name__} has no {words.keys() - kinds.keys()}")

        def typing(typing_context: Any, *found: Any) -> Any:
            passed = _argument_types(kinds, found)
            if passed is None:
                return None

            def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
                with emitting(builder):
                    each = zip(signature.args, arguments, strict=True)
                    value = body(*(_unpacked(context, builder, *pair) for pair in each))
                return context.get_dummy_value() if value is None else value.ir

            return result(*passed), codegen

        # Numba asks for the names, and shows them where a call does not fit.
        typing.__name__, typing.__doc__ = body.__name__, body.__doc__
        typing.__qualname__, typing.__module__ = body.__qualname__, body.__module__
        plain = inspect.Parameter.POSITIONAL_OR_KEYWORD
        names = ["typing_context", *parameters]
        typing.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [inspect.Parameter(name, plain) for name in names]
        )
        made: Any = _Interpreted() if config.DISABLE_JIT else intrinsic(typing)

        def twin(function: Callable[..., Any]) -> Callable[..., Any]:
            if list(inspect.signature(function).parameters) != parameters:
                raise TypeError(f"{body.__name__} and its twin have other parameters")
            made.plain = function
            return function

        made.twin, made.body = twin, body
        INSTRUCTIONS[body.__name__] = made
        return made

    return make


# --------------------------------------------------------------------------------------------
# What many twins need


def mask_of(truths: np.ndarray[Any, Any]) -> np.uint64:
    """64 truths as bits, the first in the lowest."""
    return np.packbits(truths, bitorder="little").view(np.uint64)[0]


def integers_of(index: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The bits of `index` as integers as wide as its elements."""
    return index.view(f"i{index.itemsize}")
