"""All of Celery: the application, its transport, and messages from writing to validation."""
