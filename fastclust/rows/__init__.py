"""Rows that are read: what they are (`sources`), where they are and how passes over them go.

`files` and `columns` open paths and tables, `streaming` runs kernels over what does not lie in
memory, `mapped` makes an error of a mapped file that shrinks.
"""
