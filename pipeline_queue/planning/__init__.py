"""Pure decisions: what a run's steps execute, which steps runs share, how far a sweep is."""
