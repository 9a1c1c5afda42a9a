"""How fast fastclust is: its published figures, its kernels one by one, and its history.

`targets`, `mixture_targets`, `minibatch_targets`
    Measure every figure that the project publishes: ``python benchmarks/targets.py``.
`bench_kernels`
    Micro-benchmarks of the kernels: ``pytest benchmarks --benchmark-only``.
`suite_kernels`, `suite_kmeans`, `suite_mixture`
    Suites for airspeed velocity: ``asv run``. `suite` is what they share, and `selection` the
    problems of all of them.

`peak_memory` and `fastclust.kernels.machine.roof` are what `targets` measures with.
"""
