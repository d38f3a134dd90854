"""The command line: `python -m worker COMMAND`. Imports only what that command needs."""

import sys

from worker.cli.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
