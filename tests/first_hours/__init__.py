"""Plays what a new user does in five first hours, in real terminals of two sizes, and keeps every screen."""
