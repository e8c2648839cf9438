"""Gives a run its model: the adapter of its dialect, imported only when it is spoken."""

from firsthand.agent.errors import AgentError
from firsthand.agent.models.endpoint import ModelEndpoint
from firsthand.agent.models.port import Model
from firsthand.protocol.questions import Dialect, ModelChoice


class NoEndpoint(AgentError):
    """A model is wanted, and there is no way to one."""

    tag = "NoModelEndpoint"


def open_model(choice: ModelChoice, endpoint: ModelEndpoint | None) -> Model:
    """Return the model. Raises `NoEndpoint` where it has to be reached and cannot be."""
    if choice.dialect is Dialect.EXTRACTIVE:
        from firsthand.agent.models.extractive import Extractive

        return Extractive()
    if choice.dialect is Dialect.SCRIPTED:
        from firsthand.agent.models.scripted import Scripted

        return Scripted(choice.model)
    if endpoint is None:
        raise NoEndpoint(
            "This agent was started without a way to a model.",
            hint="Start it with --gateway, or ask without a model.",
        )
    if choice.dialect is Dialect.OPENAI:
        from firsthand.agent.models.openai import OpenAI

        return OpenAI(endpoint, choice.model, choice.effort)
    from firsthand.agent.models.anthropic import Anthropic

    return Anthropic(endpoint, choice.model, choice.effort)
