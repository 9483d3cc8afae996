"""Authentication: JWTs, the project's API keys and signing keys (JWKS), and the throttle on failed attempts."""
