"""`python -m pipeline_queue`: the same as the console command."""

from pipeline_queue.cli import main

if __name__ == "__main__":
    main()
