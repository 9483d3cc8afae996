"""HTTP: a function's app, request bodies and their field types, decompression, untrusted URLs (SSRF protection)."""
