"""The engine: serial Numba kernels over row blocks, and the thread driver that runs them.

Knows NumPy and Numba and nothing of estimators; nothing in here imports from above.
"""
