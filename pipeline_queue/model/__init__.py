"""Pure values: the pipeline, its parameters, expressions, conditions, and the problems of an input."""
