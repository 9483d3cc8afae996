"""HTTP in and out: a function's app, request bodies, and addresses that somebody else chose."""
