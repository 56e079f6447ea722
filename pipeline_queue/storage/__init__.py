"""Gives all other code its access to the shared files: layout, atomic operations, snapshots, access rights."""
