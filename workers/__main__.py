"""`python -m workers worker …` and `python -m workers flower …`: Celery's commands on this application.

Unlike `celery -A workers`, a folder called `workers` where it is started cannot get in between.
"""

import sys

from celery.bin.celery import celery

from workers.app import application

if __name__ == "__main__":
    # What `Celery.start` does, which loses the exit code.
    celery.params[0].default = application()
    celery.main(args=sys.argv[1:], prog_name="python -m workers")
