"""Compiled kernels as the cache keeps them, and the short way back into a process.

What Numba stores of a function it takes apart again when it loads it: it parses the function's
LLVM code, in case that a caller is compiled, looks there for the symbols that the machine code
defines, and imports every module that a function compiled into this one comes from, which is all
that Numba knows of arrays and of strings.  A process that finds its kernels compiled needs none of
that.  Here the symbols are written down, the LLVM code is parsed when a caller asks for it, and
what stands for such a module is an empty environment.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
from numba.core.caching import CompileResultCacheImpl
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompileResult
from numba.core.environment import Environment, lookup_environment

# Machine code asks its environment for constants that are Python objects, and stops where it has
# no environment.  One that has no constants is asked for nothing.
NO_CONSTANTS = Environment({})


class StoredLibrary(JITCodeLibrary):
    """Machine code that was stored, and the LLVM code that it was made of.

    Parameters
    ----------
    codegen : JITCPUCodegen
        Where it is loaded.
    name : str
        Name of the library.
    machine_code, llvm_code : bytes
        An object file; bitcode.
    symbols : frozenset of str
        What the object file defines.
    """

    _shared_module: Any

    def __init__(
        self,
        codegen: Any,
        name: str,
        machine_code: bytes,
        llvm_code: bytes,
        symbols: frozenset[str],
    ) -> None:
        super().__init__(codegen, name)
        self._llvm_code = llvm_code
        self.enable_object_caching()
        self._set_compiled_object(machine_code)
        self._finalize_final_module()
        codegen._engine._defined_symbols |= symbols

    def _get_module_for_linking(self) -> Any:
        if self._shared_module is None:
            self._shared_module = llvm.parse_bitcode(self._llvm_code)
        return self._shared_module


def defined_symbols(library: Any) -> frozenset[str]:
    """Names of what a compiled library defines."""
    module = library._get_module_for_linking()
    return frozenset(
        value.name
        for values in (module.functions, module.global_variables)
        for value in values
        if not value.is_declaration
    )


class StoredKernel(CompileResultCacheImpl):
    """How a compiled kernel is taken apart for the cache and put together again."""

    def reduce(self, result: Any) -> Any:
        """What is stored of a compilation."""
        *parts, environments = super().reduce(result)
        own = result.environment.env_name
        full = [environment for environment in environments if environment.consts]
        empty = [environment.env_name for environment in environments if not environment.consts]
        symbols = defined_symbols(result.library)
        return *parts, full, [name for name in empty if name != own], symbols

    def rebuild(self, target_context: Any, stored: Any) -> Any:
        """The compilation that was stored as this."""
        library_parts, descriptor, environment, signature, *parts = stored
        objectmode, lifted, annotation, initializers, full, empty, symbols = parts
        for initialize in initializers:
            initialize()
        name, _, (machine_code, llvm_code) = library_parts
        codegen = target_context.codegen()
        library = StoredLibrary(codegen, name, machine_code, llvm_code, symbols)
        entry_point = target_context.get_executable(library, descriptor, environment)
        for each in full:
            codegen.set_env(each.env_name, each)
        for env_name in empty:
            codegen.set_env(env_name, lookup_environment(env_name) or NO_CONSTANTS)
        return CompileResult(
            typing_context=target_context.typing_context,
            target_context=target_context,
            entry_point=entry_point,
            typing_error=None,
            type_annotation=annotation,
            signature=signature,
            objectmode=objectmode,
            lifted=lifted,
            fndesc=descriptor,
            library=library,
            call_helper=None,
            environment=environment,
            metadata=None,
            reload_init=initializers,
            referenced_envs=full,
        )
