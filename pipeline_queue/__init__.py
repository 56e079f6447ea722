"""Parameterized pipelines in YAML, turned into chains of Celery tasks."""

__version__ = "0.1.0"
