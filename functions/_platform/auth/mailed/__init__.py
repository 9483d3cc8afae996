"""Mailed links and codes: made, mailed, limited, verified, and where they may lead back to."""
