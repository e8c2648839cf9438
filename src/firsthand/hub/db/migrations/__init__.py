"""Every change of the schema, oldest first. Run by `migrate.py`, never by hand.

To change the schema: edit `schema.py`, write the next `versions/NNNN_what_changes.py` by hand
with the one before as its `down_revision`, and raise `HEAD` in `migrate.py`. The tests compare
what the migrations make with what `schema.py` says. A revision that was released never changes,
and there is no way down: the way back is a copy of the file.
"""
