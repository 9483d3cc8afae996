"""The connections of /rest/v1: a pool of its own, and on each of them one pipelined transaction per request."""
