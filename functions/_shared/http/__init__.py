"""The HTTP client's transport: see README.md."""
