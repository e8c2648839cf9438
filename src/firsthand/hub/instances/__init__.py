"""Instances: the durable host that a user has, its states, and the sandbox it lives in now.

Above: threads, which need a running agent; entrances, which show and steer. Below: the port to
sandboxes. Nothing here knows of questions or answers.
"""
