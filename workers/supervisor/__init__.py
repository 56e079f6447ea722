"""The small process of a worker that starts step processes and ends their trees; the standard library only."""
