"""``make doctor``: walks a deployment by its settings; of each part, whether it is well, or the line to type."""
