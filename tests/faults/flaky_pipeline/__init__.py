"""Steps that fail a few times before they end well."""
