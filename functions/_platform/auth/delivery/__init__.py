"""Mails of /auth/v1: their text, and how they are delivered."""
