"""/realtime/v1: changes of tables, broadcast and presence over a websocket."""
