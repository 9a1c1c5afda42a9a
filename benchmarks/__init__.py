"""How fast fastclust is: its published figures, its kernels one by one, and its history.

`targets`
    Measures every figure that the project publishes, in one run: ``python benchmarks/targets.py``.
`bench_kernels`
    Micro-benchmarks of the kernels: ``pytest benchmarks --benchmark-only``.
`bench_kmeans`
    Suites for airspeed velocity: ``asv run``.

`peak_memory` and `fastclust.kernels.roof` are what `targets` measures with.
"""
