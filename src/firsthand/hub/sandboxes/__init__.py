"""Sandboxes: where an instance's agent runs. `provider.py` is the port, each folder an adapter."""
