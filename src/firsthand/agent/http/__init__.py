"""HTTP over a Unix socket: the server, this project's routes, and those of the npm btca server."""
