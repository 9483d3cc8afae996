"""The example app: one page of plain JavaScript that uses auth, rest, storage, realtime and start-generation."""
