"""From values to an accepted, enqueued sweep, and what keeps it going: feeding, retry, recovery."""
