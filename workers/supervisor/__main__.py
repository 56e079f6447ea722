"""`python -m workers.supervisor FD`: the supervisor on its end of the worker's socket."""

import sys

from workers.supervisor.supervisor import main

if __name__ == "__main__":
    main(int(sys.argv[1]))
