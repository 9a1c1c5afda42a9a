"""Numbers that several threads replace at once: compare, and exchange if equal."""

from __future__ import annotations

from typing import Any

from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic


def replace_if(numbers, place, old, new):
    """Make ``numbers[place]`` (int64) `new` if it is `old`, in one step; whether it was."""
    found = numbers[place] == old
    if found:
        numbers[place] = new
    return found


if not config.DISABLE_JIT:

    @intrinsic
    def replace_if(typing_context: Any, numbers: Any, place: Any, old: Any, new: Any) -> Any:
        """Make ``numbers[place]`` (int64) `new` if it is `old`, in one step; whether it was."""
        if not isinstance(numbers, types.Array) or numbers.dtype != types.int64:
            return None

        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            array = context.make_array(signature.args[0])(context, builder, arguments[0])
            place = cgutils.gep(builder, array.data, arguments[1])
            outcome = builder.cmpxchg(place, *arguments[2:], "acq_rel", "acquire")
            return builder.extract_value(outcome, 1)

        return types.boolean(numbers, types.intp, types.int64, types.int64), codegen
