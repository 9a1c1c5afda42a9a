"""What knows the machine and no mathematics: threads, launches, compilation, its cache, forks.

Kernels are written with `compiling` and run by `parallel`; what these need is here too.  Nothing in
here knows what a kernel computes.
"""
