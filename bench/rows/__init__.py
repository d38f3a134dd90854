"""One module per row: a program that does the same work in its own way.

It prints how much CPU time its process used for that.
"""
