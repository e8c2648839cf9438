"""Models: the port, and one adapter a dialect. No adapter knows of tools, runs or routes."""
