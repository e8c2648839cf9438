"""The model gateway: the agent's only way to a model, with the real key and the real counts."""
