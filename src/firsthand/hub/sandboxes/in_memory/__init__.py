"""Sandboxes without any isolation, in the hub's own process; for tests."""
