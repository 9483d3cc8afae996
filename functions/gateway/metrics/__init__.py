"""GET /metrics: what this gateway has counted, and what the database says of the queue."""
