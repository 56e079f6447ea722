"""The embedded default: a private server and workers, started and stopped for the user."""
