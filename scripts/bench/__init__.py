"""``make bench``: what things cost, each beside a floor measured in the same run."""
