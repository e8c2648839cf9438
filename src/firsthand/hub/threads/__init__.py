"""Threads: questions, their answers, and the runs that make them.

Above: the entrances. Below: instances, which give a running agent. `ask.py` is the one way in,
`relay.py` carries an answer from the agent into the journal, `journal.py` is the one way out.
"""
