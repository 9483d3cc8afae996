"""Pictures: fetched, told from their bytes, stored."""
