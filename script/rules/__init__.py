"""Rules of the house that neither the linter, the type checker nor the import contracts can say.

One module a rule; each has a `check` that takes a file and yields its problems. Run all with
`python -m script.rules`. Not a linter for others: the rules speak of this tree alone.
"""
