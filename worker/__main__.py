"""The command line: `python -m worker COMMAND`. Imports only what the command named needs."""

import sys

from worker.commands.line import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
