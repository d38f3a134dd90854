"""The package that a backend installs to put send jobs on Sendwindow's queue.

Import from the submodules. This module stays empty so that `import policies` never loads redis.
"""
