"""The HTTP interface: routes, and the one table from errors to status codes."""
