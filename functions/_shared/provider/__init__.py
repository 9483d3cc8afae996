"""Replicate: the HTTP client, its responses and predictions, and its failures as exceptions."""
