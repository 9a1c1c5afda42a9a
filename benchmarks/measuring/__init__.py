"""What all targets share.

`turns` runs the sides of a ratio in turn, `figures` is what is reported, `cells` compares whole
fits of several engines, and `command` is the command line that measures rows and writes a file.
"""
