"""The one door to the shared files: layout, atomic operations, snapshots, access rights."""
