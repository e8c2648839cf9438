"""The pages: server-rendered views of the database, kept current over one connection a page.

An entrance like any other: it authenticates a principal and calls use cases. It decides how
things look and are worded, never what may happen.
"""
