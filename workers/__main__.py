"""`python -m workers worker …` and `python -m workers flower …`: Celery's commands on this application.

Unlike `celery -A workers`, a folder called `workers` where it is started cannot get in between.
"""

import sys

from workers.app import application

if __name__ == "__main__":
    application().start(sys.argv[1:])
