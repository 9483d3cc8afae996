"""The operators' page at /operate: what the queue does, why something waits, and what an operator may do about it."""
