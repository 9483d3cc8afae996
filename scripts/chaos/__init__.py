"""The chaos run: three gateways under load, while everything around them breaks."""
