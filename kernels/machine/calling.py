"""Calls of kernels from compiled code, by address: whole loops of launches without Python.

Where one compiled function calls another one, Numba makes one piece of code of both and optimises
that again: a loop around the kernels of a fit would take as long to compile as all of them.  Here a
loop is given a :func:`reference` to each kernel instead, an address and a digest of the types that
it was compiled for; :func:`call` stops where those are not the types of its arguments.  A kernel
that takes tasks is called by its launcher, with all helpers that its gate asks for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import config, typeof
from numba.core import cgutils, types
from numba.extending import intrinsic

from ..emit.memory import RECORD
from .compiling import helper
from .launching import is_launched, launcher_name

_word = ir.IntType(64)
NOWHERE = (0, 0)  # what is never called


def _digest(returned: Any, kinds: tuple[Any, ...]) -> int:
    text = repr((returned, *kinds)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:7])


_references: dict[Any, Any] = {}


def reference(function: Callable[..., Any], key: Any, *arguments: Any) -> Any:
    """A kernel as :func:`call` wants it, compiled for the types of these arguments.

    Parameters
    ----------
    function : callable
        The kernel.
    key : hashable
        All that the types of the arguments depend on: they are looked at once for each key.
    *arguments
        All arguments of a call.
    """
    if config.DISABLE_JIT:
        return function
    found = _references.get((function, key))
    if found is None:
        kinds = tuple(map(typeof, arguments))
        function.compile(kinds)  # type: ignore[attr-defined]
        compiled = function.overloads[kinds]  # type: ignore[attr-defined]
        name = compiled.fndesc.llvm_func_name
        if is_launched(function.py_func):  # type: ignore[attr-defined]
            name = launcher_name(name)
        address = compiled.library.get_pointer_to_function(name)
        found = address, _digest(compiled.signature.return_type, kinds)
        _references[function, key] = found
    return found


@intrinsic
def _call(typing_context: Any, kernel: Any, result: Any, first: Any, rest: Any) -> Any:
    returned = types.unliteral(result)  # type: ignore[attr-defined]
    kinds = [types.unliteral(each) for each in (*first.types, *rest.types)]  # type: ignore[attr-defined]

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values = []
        for group, value in zip(signature.args[2:], arguments[2:], strict=True):
            parts = cgutils.unpack_tuple(builder, value)
            for kind, part in zip(group.types, parts, strict=True):
                values.append(context.cast(builder, part, kind, types.unliteral(kind)))  # type: ignore[attr-defined]
        address, digest = cgutils.unpack_tuple(builder, arguments[0])
        convention = context.call_conv
        wanted = ir.Constant(_word, _digest(returned, tuple(kinds)))
        with cgutils.if_unlikely(builder, builder.icmp_signed("!=", digest, wanted)):
            convention.return_user_exc(builder, TypeError, ("a kernel of other types is called",))
        kind = convention.get_function_type(returned, kinds).as_pointer()
        callee = builder.inttoptr(address, kind)
        status, outcome = convention.call_function(builder, callee, returned, kinds, values)
        with cgutils.if_unlikely(builder, status.is_error):
            convention.return_status_propagate(builder, status)
        return outcome

    return returned(kernel, result, first, rest), codegen


def call(kernel, result, first, rest):
    """Call a kernel with the arguments `first` and then `rest`; `result` is of its type."""
    return _call(kernel, result, first, rest)


if config.DISABLE_JIT:

    def _call(kernel, result, first, rest):
        return kernel(*first, *rest)
else:
    call = helper(call)


@helper
def threads_of(counter):
    """Number of threads that take their tasks from `counter`."""
    return len(counter) // RECORD


@helper
def offer_tasks(counter):
    """Offer all tasks to all threads, before the next launch."""
    for seat in range(threads_of(counter)):
        for slot in range(3):
            counter[seat * RECORD + slot] = 0
