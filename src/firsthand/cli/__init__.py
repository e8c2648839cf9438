"""The command line: a thin client of a running hub, or of a set-up in this one process.

Modules here import late what only some commands need, so that `firsthand --help` is quick.
"""
