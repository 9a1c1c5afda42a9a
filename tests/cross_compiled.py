"""Assembly of instructions for CPUs that this machine need not have: run as a program by a test."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core.registry import cpu_target

X86 = "x86_64-unknown-linux-gnu"
AVX2 = "+sse,+sse2,+sse3,+ssse3,+sse4.1,+sse4.2,+popcnt,+avx,+avx2,+fma,+bmi,+bmi2"
AVX512 = f"{AVX2},+avx512f,+avx512dq,+avx512bw,+avx512vl,+avx512cd"
TARGETS = {
    "avx512": (X86, "skylake-avx512", AVX512),
    "avx2": (X86, "haswell", AVX2),
    "sse2": (X86, "x86-64", "+sse,+sse2"),
    "neon": ("aarch64-unknown-linux-gnu", "generic", "+neon"),
}


def environment(target: str) -> dict[str, str]:
    """What Numba has to be told for the kernels to be written for a target."""
    triple, cpu, features = TARGETS[target]
    cpu, features = (cpu, features) if triple == X86 else ("generic", "")
    return {**os.environ, "NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": features}


def assembly(instruction: Any, kinds: list[Any], target: str) -> str:
    """Optimised assembly of a function that is the instruction for arguments of these types."""
    triple, cpu, features = TARGETS[target]
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple(triple).create_target_machine(
        cpu=cpu, features=features, opt=3
    )
    context = cpu_target.target_context
    context.refresh()
    signature, codegen = instruction._defn(cpu_target.typing_context, *kinds)
    module = ir.Module("instruction")
    module.triple, module.data_layout = triple, str(machine.target_data)
    arguments = [context.get_value_type(kind) for kind in signature.args]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), "instruction")
    builder = ir.IRBuilder(function.append_basic_block())
    codegen(context, builder, signature, function.args)
    builder.ret_void()
    parsed = llvm.parse_assembly(str(module))
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    passes = llvm.create_pass_builder(machine, options)
    passes.getModulePassManager().run(parsed, passes)
    return str(machine.emit_assembly(parsed))


if __name__ == "__main__":
    target = sys.argv[1]
    if target == "neon":
        llvm.get_default_triple, found = lambda: TARGETS["neon"][0], llvm.get_default_triple
    from fastclust.kernels.emit import cpu
    from fastclust.kernels.emit.densities import log_density_in_tile
    from fastclust.kernels.emit.rows_and_rows import add_products
    from fastclust.kernels.emit.search_rows import scores_in_tile

    if target == "neon":
        llvm.get_default_triple = found
    one, two = (types.Array(kind, 1, "C") for kind in (types.float32, types.float64))
    n, real = types.intp, types.float64
    chosen = {
        "scores_in_tile": (scores_in_tile, [one, one, one, n, n, n, one]),
        "add_products": (add_products, [one, one, n, n, one]),
        "log_density_in_tile": (log_density_in_tile, [two, two, n, two, n, real, n, two, n]),
    }
    print(
        json.dumps(
            {
                "row_vectors": cpu.ROW_VECTORS,
                **{name: assembly(*each, target) for name, each in chosen.items()},
            }
        )
    )
