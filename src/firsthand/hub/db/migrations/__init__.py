"""Every change of the schema, oldest first. Run by `migrate.py`, never by hand."""
