"""One module per row, or per few rows that differ in one number. `bench/registry.py` lists them.

A row does its work in its own way and returns its figures. What it prepares is not measured.
"""
