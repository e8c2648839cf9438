"""Which model is chosen from what is set."""

from pathlib import Path

import pytest

from firsthand.hub.errors import SettingsError
from firsthand.hub.settings import ModelSettings, load_settings
from firsthand.protocol.questions import Dialect


def _model(**values: str) -> ModelSettings:
    return load_settings({"HOME": "/home/somebody", **values}, Path("/nonexistent")).model


def _summary(**values: str) -> tuple[str, str, str, str | None, str | None]:
    model = _model(**values)
    return (model.dialect.value, model.provider, model.model, model.base_url, model.api_key)


def test_the_usual_variables_are_picked_up() -> None:
    opencode = _summary(OPENCODE_API_KEY="k", OPENAI_API_KEY="other")
    assert (opencode[1], opencode[4]) == ("opencode", "k")
    assert _summary(OPENROUTER_API_KEY="k")[:2] == ("openai", "openrouter")
    openai = _summary(OPENAI_API_KEY="k", ANTHROPIC_API_KEY="other")
    assert openai[:2] == ("openai", "openai")
    assert openai[3:] == ("https://api.openai.com/v1", "k")
    anthropic = _summary(ANTHROPIC_API_KEY="k")
    assert anthropic[:2] == ("anthropic", "anthropic")
    assert anthropic[3:] == ("https://api.anthropic.com", "k")


def test_base_urls_of_others_are_picked_up() -> None:
    assert _summary(OPENAI_API_KEY="k", OPENAI_BASE_URL="http://127.0.0.1:9/v1/")[3] == (
        "http://127.0.0.1:9/v1"
    )
    assert _summary(ANTHROPIC_API_KEY="k", ANTHROPIC_BASE_URL="http://127.0.0.1:9/v1")[3] == (
        "http://127.0.0.1:9"
    )
    # A base URL alone chooses nothing.
    assert _model(OPENAI_BASE_URL="http://127.0.0.1:9/v1").dialect is Dialect.EXTRACTIVE


def test_a_model_is_named_with_its_provider() -> None:
    keys = {"OPENAI_API_KEY": "o", "ANTHROPIC_API_KEY": "a"}
    assert _summary(FIRSTHAND_MODEL="anthropic/claude-x", **keys) == (
        "anthropic",
        "anthropic",
        "claude-x",
        "https://api.anthropic.com",
        "a",
    )
    assert _summary(FIRSTHAND_MODEL="openai/gpt-x", FIRSTHAND_MODEL_API_KEY="own", **keys)[2:] == (
        "gpt-x",
        "https://api.openai.com/v1",
        "own",
    )
    assert _summary(FIRSTHAND_MODEL="gpt-y", **keys)[1:3] == ("openai", "gpt-y")


def test_openrouter_takes_names_with_the_makers_prefix() -> None:
    assert _summary(FIRSTHAND_MODEL="anthropic/claude-x", OPENROUTER_API_KEY="r")[1:3] == (
        "openrouter",
        "anthropic/claude-x",
    )
    assert _summary(FIRSTHAND_MODEL="openrouter/anthropic/c", OPENROUTER_API_KEY="r")[1:3] == (
        "openrouter",
        "anthropic/c",
    )
    assert _summary(FIRSTHAND_MODEL="qwen/coder", OPENROUTER_API_KEY="r")[1:3] == (
        "openrouter",
        "qwen/coder",
    )


def test_opencode_serves_each_family_in_its_makers_dialect() -> None:
    assert _summary(FIRSTHAND_MODEL="opencode/claude-x", OPENCODE_API_KEY="k")[0] == "anthropic"
    assert _summary(FIRSTHAND_MODEL="opencode/kimi", OPENCODE_API_KEY="k")[0] == "openai"


def test_an_own_address() -> None:
    own = {"FIRSTHAND_MODEL_BASE_URL": "http://127.0.0.1:9/v1", "FIRSTHAND_MODEL": "org/model"}
    assert _summary(**own) == ("openai", "custom", "org/model", "http://127.0.0.1:9/v1", None)
    assert _summary(**own, FIRSTHAND_MODEL_API_KEY="k")[4] == "k"
    assert _summary(**own, OPENAI_API_KEY="o")[4] == "o"
    anthropic = _summary(**own, FIRSTHAND_MODEL_DIALECT="anthropic", ANTHROPIC_API_KEY="a")
    assert anthropic == ("anthropic", "custom", "org/model", "http://127.0.0.1:9", "a")
    assert _summary(OPENAI_API_KEY="o", FIRSTHAND_MODEL_BASE_URL="http://127.0.0.1:9/v1")[3:] == (
        "http://127.0.0.1:9/v1",
        "o",
    )
    with pytest.raises(SettingsError, match="FIRSTHAND_MODEL_DIALECT"):
        _model(**own, FIRSTHAND_MODEL_DIALECT="extractive")


@pytest.mark.parametrize(
    ("host", "base_url"),
    [
        ("127.0.0.1", "http://127.0.0.1:11434/v1"),
        ("0.0.0.0:1234", "http://127.0.0.1:1234/v1"),
        ("https://ollama.example.org/", "https://ollama.example.org:443/v1"),
        ("[::1]:99", "http://[::1]:99/v1"),
        ("[::]", "http://[::1]:11434/v1"),
    ],
)
def test_ollama_is_found_where_it_says(host: str, base_url: str) -> None:
    assert _summary(OLLAMA_HOST=host)[3] == base_url
    assert _summary(OLLAMA_HOST=host, FIRSTHAND_MODEL="ollama/qwen")[1:4] == (
        "ollama",
        "qwen",
        base_url,
    )


def test_the_extractive_engine_can_be_chosen() -> None:
    assert _model(FIRSTHAND_MODEL="extractive", OPENAI_API_KEY="k").dialect is Dialect.EXTRACTIVE


def test_a_model_without_a_place_to_ask_names_what_is_missing() -> None:
    with pytest.raises(SettingsError, match="ANTHROPIC_API_KEY is missing") as problem:
        _model(FIRSTHAND_MODEL="anthropic/claude-x", OPENAI_API_KEY="o")
    assert problem.value.hint == "Set ANTHROPIC_API_KEY to a key of anthropic."
    with pytest.raises(SettingsError, match="FIRSTHAND_MODEL_BASE_URL is missing"):
        _model(FIRSTHAND_MODEL="some-model")


def test_keys_are_never_shown() -> None:
    settings = load_settings({"HOME": "/h", "OPENAI_API_KEY": "sk-secret"}, Path("/nonexistent"))
    assert settings.model.api_key == "sk-secret"
    assert "sk-secret" not in repr(settings)
    with pytest.raises(SettingsError) as caught:
        load_settings({"HOME": "/h", "OPENAI_API_KEY": "sk secret"}, Path("/nonexistent"))
    assert "secret" not in str(caught.value)
