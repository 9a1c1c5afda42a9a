"""How a kernel hands itself to the helpers: LLVM code around it, which touches no Python object.

The entry by which Python calls a kernel does not call the kernel itself but its launcher, which has
the same arguments.  Where the gate asks for more threads than one, the launcher writes its
arguments to its own stack and opens a job: the address of a trampoline, and where the arguments
lie.  A helper that finds the job open calls the trampoline, which reads the arguments and calls
the same kernel with a gate that is longer by the helper's seat.  The launcher meanwhile runs the
kernel itself, closes the job, and only returns when no helper is inside any more.

All this is compiled with the kernel and cached with it, from its LLVM signature alone: no kernel is
inferred, compiled or optimised twice.  What opens and closes a job is common to all kernels; its
addresses stand in the gate.  :mod:`.parallel` has that code, and says what a helper does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.callwrapper import PyCallWrapper
from numba.core.compiler import Compiler
from numba.core.compiler_machinery import register_pass
from numba.core.lowering import Lower
from numba.core.typed_passes import BaseNativeLowering, NativeLowering
from numba.extending import intrinsic

# The first parameters of every kernel that can be launched.
PARAMETERS = ("counter", "gate", "n_tasks")
# What a launcher reads in the gate: threads that are wanted, and what opens and closes a job.
WANTED, OPEN, CLOSE = 0, 1, 2
OPEN_TYPES, CLOSE_TYPES = [types.int64] * 4, [types.int64] * 3
NOTHING, NONE = 0, -2  # codes that a kernel returns where there was no error

_word, _code = ir.IntType(64), ir.IntType(32)
_trampoline_type = ir.FunctionType(_word, [_word, _word, _word])


def launcher_name(kernel: str) -> str:
    """Symbol of the launcher of a kernel."""
    return f"launch.{kernel}"


class _Launcher:
    """Emits the launcher and the trampoline of one compiled kernel."""

    def __init__(self, context: Any, module: Any, descriptor: Any) -> None:
        self.context, self.module, self.descriptor = context, module, descriptor
        self.convention = context.call_conv
        self.type = self.convention.get_function_type(descriptor.restype, descriptor.argtypes)
        self.kernel = ir.Function(module, self.type, descriptor.llvm_func_name)
        self.packer = context.get_arg_packer(descriptor.argtypes)
        self.stored = ir.LiteralStructType([each.type for each in self.kernel.args])

    def _function(self, name: str, function_type: Any) -> tuple[Any, Any]:
        function = ir.Function(self.module, function_type, name)
        return function, ir.IRBuilder(function.append_basic_block("entry"))

    def _array(self, builder: Any, arguments: list[Any], place: int) -> Any:
        kind = self.descriptor.argtypes[place]
        return self.context.make_array(kind)(self.context, builder, arguments[place])

    def trampoline(self) -> Any:
        """What a helper calls: ``(address of the arguments, seat, where an error goes)``."""
        function, builder = self._function(f"trampoline.{self.kernel.name}", _trampoline_type)
        function.linkage = "internal"
        stored, seat, where = function.args
        fields = builder.load(builder.inttoptr(stored, self.stored.as_pointer()))
        flat = [builder.extract_value(fields, i) for i in range(len(self.stored.elements))]
        arguments = self.packer.from_arguments(builder, flat[2:])
        gate = self._array(builder, arguments, 1)
        gate.nitems = builder.add(gate.nitems, seat)
        gate.shape = cgutils.pack_array(builder, [gate.nitems])
        arguments = [*arguments[:1], gate._getvalue(), *arguments[2:]]
        status, _ = self.convention.call_function(
            builder,
            self.kernel,
            self.descriptor.restype,
            self.descriptor.argtypes,
            arguments,
            attrs=("noinline",),
        )
        error = builder.ptrtoint(status.excinfoptr, _word)
        builder.store(error, builder.inttoptr(where, _word.as_pointer()))
        nothing = ir.Constant(_word, NOTHING)
        builder.ret(builder.select(status.is_error, builder.sext(status.code, _word), nothing))
        return function

    def launcher(self) -> Any:
        """What Python's entry calls in the place of the kernel, and others by its address."""
        trampoline = self.trampoline()
        function, builder = self._function(launcher_name(self.kernel.name), self.type)
        arguments = self.packer.from_arguments(builder, function.args[2:])
        counter, gate = (self._array(builder, arguments, place).data for place in (0, 1))
        stored = builder.alloca(self.stored)
        job = cgutils.alloca_once_value(builder, ir.Constant(_word, 0))

        def of_gate(slot: int) -> Any:
            return builder.load(builder.gep(gate, [ir.Constant(_word, slot)]))

        def call(slot: int, kinds: list[Any], values: list[Any]) -> Any:
            kind = self.convention.get_function_type(types.int64, kinds).as_pointer()
            callee = builder.inttoptr(of_gate(slot), kind)
            return self.convention.call_function(builder, callee, types.int64, kinds, values)[1]

        with builder.if_then(builder.icmp_signed(">", of_gate(WANTED), ir.Constant(_word, 1))):
            for place, value in enumerate(function.args):
                builder.store(value, cgutils.gep_inbounds(builder, stored, 0, place))
            addresses = [gate, trampoline, stored, counter]
            values = [builder.ptrtoint(address, _word) for address in addresses]
            builder.store(call(OPEN, OPEN_TYPES, values), job)
        code = builder.call(self.kernel, function.args, attrs=("noinline",))
        opened = builder.icmp_signed("!=", builder.load(job), ir.Constant(_word, 0))
        with builder.if_then(opened):
            failed = builder.and_(
                builder.icmp_signed("!=", code, ir.Constant(_code, NOTHING)),
                builder.icmp_signed("!=", code, ir.Constant(_code, NONE)),
            )
            addresses = [builder.ptrtoint(each, _word) for each in (gate, function.args[1])]
            values = [addresses[0], builder.zext(failed, _word), addresses[1]]
            helpers = builder.trunc(call(CLOSE, CLOSE_TYPES, values), _code)
            with builder.if_then(builder.icmp_signed("!=", helpers, ir.Constant(_code, NOTHING))):
                builder.ret(helpers)
        builder.ret(code)
        return function


class _Lowering(Lower):
    def create_cpython_wrapper(self, release_gil: bool = False) -> None:
        """Numba's own wrapper, but around the launcher."""
        module = self.context.create_module("wrapper")
        launcher = _Launcher(self.context, module, self.fndesc).launcher()
        PyCallWrapper(
            self.context,
            module,
            launcher,
            self.fndesc,
            self.env,
            call_helper=self.call_helper,
            release_gil=release_gil,
        ).build()
        self.library.add_ir_module(module)


@register_pass(mutates_CFG=True, analysis_only=False)
class _LaunchingLowering(BaseNativeLowering):
    _name = "launching_lowering"

    @property
    def lowering_class(self) -> type[Lower]:
        return _Lowering


class LaunchingCompiler(Compiler):
    """Numba's compiler, for kernels that launch themselves."""

    def define_pipelines(self) -> Any:
        """Numba's passes, with another one in the place of the one that makes LLVM code."""
        pipelines = super().define_pipelines()
        for pipeline in pipelines:
            pipeline.passes = [
                (_LaunchingLowering if each is NativeLowering else each, description)
                for each, description in pipeline.passes
            ]
            pipeline.finalize()
        return pipelines


def is_launched(function: Callable[..., Any]) -> bool:
    """Whether a kernel's parameters are those of one that a team runs."""
    return function.__code__.co_varnames[: len(PARAMETERS)] == PARAMETERS


# --- What opening, closing and waiting for jobs is made of: numbers at addresses ---


def _place(builder: Any, address: Any, slot: Any) -> Any:
    return builder.gep(builder.inttoptr(address, _word.as_pointer()), [slot])


@intrinsic
def load(typing_context: Any, address: Any, slot: Any) -> Any:
    """The number in a slot of the memory at `address`."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load_atomic(_place(builder, *arguments), "seq_cst", align=8)

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def store(typing_context: Any, address: Any, slot: Any, value: Any) -> Any:
    """Write a number to a slot of the memory at `address`."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _place(builder, *arguments[:2])
        builder.store_atomic(arguments[2], place, "release", align=8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@intrinsic
def add(typing_context: Any, address: Any, slot: Any, amount: Any) -> Any:
    """Add to a slot of the memory at `address`; what was there before."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _place(builder, *arguments[:2])
        return builder.atomic_rmw("add", place, arguments[2], ordering="seq_cst")

    return types.int64(types.int64, types.int64, types.int64), codegen


@intrinsic
def jump(typing_context: Any, trampoline: Any, arguments: Any, seat: Any, error: Any) -> Any:
    """Call a trampoline; the code of an error, or 0."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        callee = builder.inttoptr(arguments[0], _trampoline_type.as_pointer())
        return builder.call(callee, arguments[1:])

    return types.int64(*[types.int64] * 4), codegen


@intrinsic
def call_system(typing_context: Any, function: Any, arguments: Any) -> Any:
    """Call a function of the C library with a tuple of numbers; it may need fewer."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values = cgutils.unpack_tuple(builder, arguments[1])
        kind = ir.FunctionType(_word, [_word] * len(values))
        return builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), values)

    values = types.Tuple([types.int64] * len(arguments))  # type: ignore[attr-defined]
    return types.int64(types.int64, values), codegen


_PAUSES = {
    "x86_64": ("llvm.x86.sse2.pause", []),
    "aarch64": ("llvm.aarch64.hint", [ir.Constant(_code, 1)]),  # "yield"
}
_PAUSES["i686"], _PAUSES["arm64"] = _PAUSES["x86_64"], _PAUSES["aarch64"]


@intrinsic
def pause(typing_context: Any) -> Any:
    """Tell the CPU that this thread waits in a loop, where there is an instruction for it."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        machine = builder.module.triple.split("-")[0]
        if machine in _PAUSES:
            name, operands = _PAUSES[machine]
            kind = ir.FunctionType(ir.VoidType(), [each.type for each in operands])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, name), operands)
        return context.get_dummy_value()

    return types.void(), codegen
