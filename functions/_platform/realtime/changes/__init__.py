"""postgres_changes: from the server's write-ahead log to the frames of those who may see a row."""
