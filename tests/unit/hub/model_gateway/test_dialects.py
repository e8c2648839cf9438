"""Counting tokens from what providers really send, and what is put into a request."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsthand.hub.model_gateway.dialects import DIALECTS, TokenCount
from firsthand.hub.model_gateway.provider import ModelProvider
from firsthand.protocol.questions import Dialect

OPENAI = DIALECTS[Dialect.OPENAI]
ANTHROPIC = DIALECTS[Dialect.ANTHROPIC]


def provider(dialect: Dialect, base_url: str, key: str | None = "k-1") -> ModelProvider:
    return ModelProvider(
        dialect=dialect, name="p", model="configured", base_url=base_url, api_key=key
    )


def test_openai_counts_come_from_the_last_chunk() -> None:
    tokens = TokenCount()
    OPENAI.count({"choices": [], "usage": None}, tokens)
    assert not tokens.seen
    OPENAI.count(
        {
            "usage": {
                "prompt_tokens": 120,
                "completion_tokens": 30,
                "completion_tokens_details": {"reasoning_tokens": 7},
                "prompt_tokens_details": {"cached_tokens": 100},
            }
        },
        tokens,
    )
    assert tokens == TokenCount(120, 30, 7, 100, seen=True)


def test_anthropic_counts_are_cumulative_and_include_the_cache() -> None:
    tokens = TokenCount()
    start = {"input_tokens": 10, "cache_read_input_tokens": 90, "cache_creation_input_tokens": 5}
    ANTHROPIC.count(
        {"type": "message_start", "message": {"usage": {**start, "output_tokens": 1}}}, tokens
    )
    ANTHROPIC.count({"type": "message_delta", "usage": {"output_tokens": 12}}, tokens)
    ANTHROPIC.count({"type": "message_delta", "usage": {"output_tokens": 40}}, tokens)
    assert tokens == TokenCount(105, 40, 0, 90, seen=True)


@pytest.mark.parametrize(
    ("dialect", "base", "url"),
    [
        (Dialect.OPENAI, "https://m.example/v1", "https://m.example/v1/chat/completions"),
        (Dialect.OPENAI, "https://m.example/v1/", "https://m.example/v1/chat/completions"),
        (Dialect.ANTHROPIC, "https://m.example", "https://m.example/v1/messages"),
        (Dialect.ANTHROPIC, "https://m.example/v1/", "https://m.example/v1/messages"),
    ],
)
def test_the_address_is_the_one_the_providers_own_client_would_use(
    dialect: Dialect, base: str, url: str
) -> None:
    assert DIALECTS[dialect].url(provider(dialect, base)) == url


def test_the_run_cannot_choose_another_model_nor_leave_the_counts_out() -> None:
    asked = b'{"model": "dearer", "stream": true, "stream_options": {"include_usage": false}}'
    body = msgspec.json.decode(asked, type=dict[str, msgspec.Raw])
    sent = OPENAI.prepare(body, provider(Dialect.OPENAI, "https://m.example/v1"))
    assert sent["model"] == "configured"
    assert sent["stream_options"] == {"include_usage": True}
    for no in (b"false", b"null"):
        whole = OPENAI.prepare({"stream": msgspec.Raw(no)}, provider(Dialect.OPENAI, "https://m"))
        assert "stream_options" not in whole


def test_the_key_never_shows_in_a_provider_printed() -> None:
    assert "k-1" not in repr(provider(Dialect.OPENAI, "https://m.example/v1"))


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["usage", "message", "type", "prompt_tokens", "input_tokens", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["usage", "message", "type"]), _json))
def test_no_foreign_json_breaks_the_counting(message: dict[str, Any]) -> None:
    again = msgspec.json.decode(msgspec.json.encode(message), type=dict[str, Any])
    for dialect in DIALECTS.values():
        tokens = TokenCount()
        dialect.count(again, tokens)
        assert min(tokens.input_tokens, tokens.output_tokens) >= 0
