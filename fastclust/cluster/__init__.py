"""Fits to rows that many workers hold: the loops of one machine, and the same bits.

:mod:`.engine` is the protocol by which workers are reached, :mod:`.held` the rows as the loops see
them, :mod:`.holder` what a worker does with its own.  :mod:`.in_process` and :mod:`.on_dask` are
engines; an engine more is a file more.
"""
