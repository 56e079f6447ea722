"""What running many small steps costs, measured beside what a person would use instead."""
