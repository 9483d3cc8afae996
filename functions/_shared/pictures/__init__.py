"""Pictures: downloads with SSRF protection, formats and headers without decoding, and Storage."""
