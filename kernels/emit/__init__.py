"""The only folder that emits LLVM: instructions that kernels call as if they were functions.

`cpu` says what the machine has, `language` how an instruction is written, `instructions` how it
becomes one that Numba knows.  Every other file is a topic: instructions, each with its NumPy twin
below it, which runs in its place under ``NUMBA_DISABLE_JIT=1`` and is what tests compare it with.

Layouts
-------
packed rows
    ``[feature][row]``, 64 rows (:data:`.cpu.TILE_ROWS`) of one block side by side, centred.
packed centers
    Negated, in groups of 6 and then of 4 centers, ``[group][feature][center]``; see
    :func:`.cpu.center_groups`.  Negation makes ``|c|²/2 - x·c`` a chain of fused multiply-adds
    that starts at the bias ``|c|²/2``.  Padding centers have the bias +inf, which is never
    smallest.

Ties go to the lowest index, as in scikit-learn.
"""
