"""Builds, checks and tags a release of the library.

`./run release` runs it. It uploads nothing and pushes nothing.
"""
