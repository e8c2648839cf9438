"""The command line: a thin client of a hub, or of everything in one process."""
