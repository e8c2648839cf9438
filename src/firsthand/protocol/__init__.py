"""What hub and agent say to each other: events, questions and limits, as typed messages.

Knows nothing of how either side works. Everything on the wire is camelCase JSON.
"""
