"""``make bench``: benchmarks, each beside a baseline ("floor") measured in the same run."""
