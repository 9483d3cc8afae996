"""The SQL of a plan: one statement, its identifiers quoted, every value of the request bound."""
