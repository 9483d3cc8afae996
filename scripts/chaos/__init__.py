"""The chaos run: three gateways under load with fault injection; then the invariants are checked."""
