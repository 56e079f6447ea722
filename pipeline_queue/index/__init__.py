"""All of Redis: the live, disposable index of runs, sweeps, leases and workers."""
