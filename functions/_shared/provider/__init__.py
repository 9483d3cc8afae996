"""Replicate: its API, its predictions, and what its failures mean."""
