"""Builds, checks and tags a release of the library. `./run release` runs it; it uploads nothing and pushes nothing."""
