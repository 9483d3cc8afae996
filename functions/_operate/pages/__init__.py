"""The pages: a file each, with its queries and its handlers."""
