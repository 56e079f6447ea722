"""The threads of a worker that keep runs going: leases, windows, lost messages, ends of sweeps, disks."""
