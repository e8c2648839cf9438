"""Firsthand answers questions about software from its source code."""

__version__ = "0.1.0"
