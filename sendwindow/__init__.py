"""What a backend installs to put send jobs on Sendwindow's queue.

Import from the submodules: this one stays empty so that `import policies` never loads redis.
"""
