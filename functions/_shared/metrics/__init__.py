"""The metrics of this process: what is measured, under which labels, at which cost. /metrics shows them."""
