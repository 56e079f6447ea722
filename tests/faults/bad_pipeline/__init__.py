"""Steps that do everything a step must not do."""
