"""Where the model is and how it is spoken to, and the choice of a run's model from it."""

from dataclasses import dataclass, field

from firsthand.hub.settings import ModelSettings
from firsthand.protocol.questions import Dialect, ModelChoice

EXTRACTIVE = ModelChoice(dialect=Dialect.EXTRACTIVE, provider="firsthand", model="extractive")


@dataclass(frozen=True, slots=True)
class ModelProvider:
    """A model endpoint that the operator configured.

    `base_url` is what the provider's own client library takes as its base URL: with `/v1` for
    the OpenAI dialect, without it for the Anthropic one.
    """

    dialect: Dialect
    name: str
    model: str
    base_url: str
    api_key: str | None = field(repr=False)

    @property
    def choice(self) -> ModelChoice:
        """What a run is told of it: everything but the place and the key."""
        return ModelChoice(dialect=self.dialect, provider=self.name, model=self.model)


def provider_of(settings: ModelSettings) -> ModelProvider | None:
    """Return the provider that the settings name, or `None` where no model is configured."""
    if settings.base_url is None:
        return None
    return ModelProvider(
        dialect=Dialect(settings.dialect.value),
        name=settings.provider,
        model=settings.model,
        base_url=settings.base_url,
        api_key=settings.api_key,
    )
