"""Writes the generated parts of docs/ from the code, so that they cannot become stale.

`./run docs` runs it, and `./run check` compares. It belongs to the checkout: neither the wheel nor
the service contains it.
"""
