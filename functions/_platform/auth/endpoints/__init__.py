"""One module an endpoint, or a group of them; ``routes`` is their table."""
