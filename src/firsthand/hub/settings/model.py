"""Which model answers, found from our own settings or from the usual variables of others."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from firsthand.hub.errors import SettingsError
from firsthand.hub.settings.values import check_url, read_choice, read_secret, read_url
from firsthand.protocol.questions import Dialect


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """The model of this hub. `base_url` ends without a slash, and for Anthropic without `/v1`."""

    dialect: Dialect
    provider: str
    model: str
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)


EXTRACTIVE = ModelSettings(Dialect.EXTRACTIVE, "firsthand", "extractive")


@dataclass(frozen=True, slots=True)
class _Provider:
    name: str
    key_name: str
    base_url: str
    base_url_name: str | None
    dialect: Dialect
    default_model: str


_OPENROUTER = _Provider(
    "openrouter",
    "OPENROUTER_API_KEY",
    "https://openrouter.ai/api/v1",
    None,
    Dialect.OPENAI,
    "anthropic/claude-haiku-4.5",
)
# In the order in which they are looked for.
_PROVIDERS = (
    _Provider(
        "opencode",
        "OPENCODE_API_KEY",
        "https://opencode.ai/zen/v1",
        None,
        Dialect.OPENAI,
        "claude-haiku-4-5",
    ),
    _OPENROUTER,
    _Provider(
        "openai",
        "OPENAI_API_KEY",
        "https://api.openai.com/v1",
        "OPENAI_BASE_URL",
        Dialect.OPENAI,
        "gpt-5-mini",
    ),
    _Provider(
        "anthropic",
        "ANTHROPIC_API_KEY",
        "https://api.anthropic.com",
        "ANTHROPIC_BASE_URL",
        Dialect.ANTHROPIC,
        "claude-haiku-4-5",
    ),
)
_OLLAMA_DEFAULT_MODEL = "gpt-oss:20b"


def read_model(values: Mapping[str, str]) -> ModelSettings:
    """Return the model that is set, or the extractive engine if none is.

    `FIRSTHAND_MODEL` is `provider/model`, or a model's name as the server at
    `FIRSTHAND_MODEL_BASE_URL` knows it, or `extractive`. Raises `SettingsError` if half is set.
    """
    model = values.get("FIRSTHAND_MODEL")
    own_key = read_secret(values, "FIRSTHAND_MODEL_API_KEY")
    if model == EXTRACTIVE.model:
        return EXTRACTIVE
    base_url = read_url(values, "FIRSTHAND_MODEL_BASE_URL")
    if base_url is not None:
        return _at_own_address(values, base_url, model, own_key)
    if "FIRSTHAND_MODEL_DIALECT" in values:
        raise SettingsError(
            "FIRSTHAND_MODEL_BASE_URL is missing: FIRSTHAND_MODEL_DIALECT says how to speak to it."
        )
    if model is None:
        if own_key is not None:
            raise SettingsError(
                "FIRSTHAND_MODEL is missing: FIRSTHAND_MODEL_API_KEY is set without it.",
                hint="Set FIRSTHAND_MODEL to provider/model, such as openai/gpt-5-mini.",
            )
        return _first_found(values, None) or EXTRACTIVE
    return _named(values, model, own_key)


def _at_own_address(
    values: Mapping[str, str], base_url: str, model: str | None, own_key: str | None
) -> ModelSettings:
    is_anthropic = (check_url("", base_url).hostname or "").endswith("anthropic.com")
    dialect = read_choice(
        values,
        "FIRSTHAND_MODEL_DIALECT",
        Dialect.ANTHROPIC if is_anthropic or base_url.endswith("/anthropic") else Dialect.OPENAI,
    )
    if dialect not in {Dialect.OPENAI, Dialect.ANTHROPIC}:
        raise SettingsError("FIRSTHAND_MODEL_DIALECT must be one of: openai, anthropic.")
    like = next(provider for provider in _PROVIDERS if provider.name == dialect.value)
    key = own_key or read_secret(values, like.key_name)
    if model is None and key is None:
        raise SettingsError(
            "FIRSTHAND_MODEL is missing: FIRSTHAND_MODEL_BASE_URL is set without it.",
            hint="Set FIRSTHAND_MODEL to a model of that server.",
        )
    name = model or like.default_model
    return ModelSettings(dialect, "custom", name, _plain(dialect, base_url), key)


def _named(values: Mapping[str, str], model: str, own_key: str | None) -> ModelSettings:
    prefix, _, rest = model.partition("/")
    if prefix == "ollama" and rest:
        return _ollama(values.get("OLLAMA_HOST", "127.0.0.1"), rest)
    provider = next((one for one in _PROVIDERS if one.name == prefix and rest), None)
    if provider is not None and (own_key or provider.key_name in values):
        return _of_provider(values, provider, rest, own_key)
    found = None
    if own_key is None and provider is None:
        found = _first_found(values, model)
    elif own_key is None and _OPENROUTER.key_name in values:
        # Names at OpenRouter look like `anthropic/claude-…`, hence the whole name.
        found = _of_provider(values, _OPENROUTER, model, None)
    if found is not None:
        return found
    if provider is not None:
        raise SettingsError(
            f"{provider.key_name} is missing: FIRSTHAND_MODEL is set to {model!r} without it.",
            hint=f"Set {provider.key_name} to a key of {provider.name}.",
        )
    raise SettingsError(
        f"FIRSTHAND_MODEL_BASE_URL is missing: FIRSTHAND_MODEL is set to {model!r} without it.",
        hint="Set FIRSTHAND_MODEL to provider/model (opencode, openrouter, openai, anthropic, "
        "ollama), or give FIRSTHAND_MODEL_BASE_URL.",
    )


def _first_found(values: Mapping[str, str], model: str | None) -> ModelSettings | None:
    for provider in _PROVIDERS:
        if provider.key_name in values:
            return _of_provider(values, provider, model or provider.default_model, None)
    if "OLLAMA_HOST" in values:
        return _ollama(values["OLLAMA_HOST"], model or _OLLAMA_DEFAULT_MODEL)
    return None


def _of_provider(
    values: Mapping[str, str], provider: _Provider, model: str, own_key: str | None
) -> ModelSettings:
    dialect = provider.dialect
    if provider.name == "opencode" and model.startswith("claude"):
        # OpenCode Zen serves each family in its maker's dialect.
        dialect = Dialect.ANTHROPIC
    address = read_url(values, provider.base_url_name) if provider.base_url_name else None
    key = own_key or read_secret(values, provider.key_name)
    base_url = _plain(dialect, address or provider.base_url)
    return ModelSettings(dialect, provider.name, model, base_url, key)


def _plain(dialect: Dialect, base_url: str) -> str:
    return base_url.removesuffix("/v1") if dialect is Dialect.ANTHROPIC else base_url


def _ollama(host: str, model: str) -> ModelSettings:
    """Read `OLLAMA_HOST` as Ollama does: scheme and port may be left out.

    Ollama's own port is meant only where no scheme is given.
    """
    usual_port = {"http": 80, "https": 443}.get(host.partition("://")[0], 11434)
    parts = check_url("OLLAMA_HOST", host if "://" in host else f"http://{host}")
    name = parts.hostname or ""
    # A server that listens everywhere is reached on loopback.
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(name, f"[{name}]" if ":" in name else name)  # noqa: S104
    base_url = f"{parts.scheme}://{name}:{parts.port or usual_port}{parts.path.rstrip('/')}/v1"
    return ModelSettings(Dialect.OPENAI, "ollama", model, base_url)
