"""The schema cache: what the database has, read in one query and kept until it changes."""
