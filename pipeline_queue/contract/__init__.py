"""What the submitter and the workers agree on; imports nothing else of ours."""
