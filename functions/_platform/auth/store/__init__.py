"""The SQL of /auth/v1: functions over a connection, one round trip each. A caller's transaction holds several."""
