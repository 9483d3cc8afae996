"""The number of the sql/ that this code is written for."""

SCHEMA_VERSION = 6
"""``picture_edge.version()`` of the sql/ of the same commit. Also in the name that the pool's sessions have."""
