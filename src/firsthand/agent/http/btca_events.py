"""Run events in the form of the npm btca server's stream.

What differs from ours: `meta` names resources by name only and holds a `collection`, a failed tool
has `error` in place of `output`, and events that the npm client does not know are left out.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from firsthand.protocol.events import (
    Done,
    Meta,
    ReasoningDelta,
    RunEvent,
    RunFailed,
    TextDelta,
    ToolState,
    ToolStatus,
    ToolUpdated,
    event_type,
)


def write_npm_event(event: RunEvent, collection: Mapping[str, str]) -> bytes | None:
    """Return the event as the npm server sends it, or `None` where it has no such event."""
    data = _data(event, collection)
    if data is None:
        return None
    kind = event_type(event)
    encoded = msgspec.json.encode({"type": kind, **data})
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), encoded)


def _data(event: RunEvent, collection: Mapping[str, str]) -> dict[str, Any] | None:
    match event:
        case Meta():
            names = [resource.name for resource in event.resources]
            return {"model": event.model, "resources": names, "collection": collection}
        case TextDelta() | ReasoningDelta():
            return {"delta": event.delta}
        case ToolUpdated():
            return _tool(event.call_id, event.tool, event.state)
        case Done():
            return _done(event)
        case RunFailed():
            # The npm client's schema knows an absent hint, but no null.
            hint = {"hint": event.hint} if event.hint else {}
            return {"tag": event.error_tag, "message": event.message, **hint}
        case _:
            return None


def _tool(call_id: str, tool: str, state: ToolState) -> dict[str, Any]:
    shown: dict[str, Any] = {"status": state.status, "input": state.input}
    if state.status is ToolStatus.ERROR:
        shown["error"] = state.output or ""
    elif state.status is ToolStatus.COMPLETED:
        shown["output"] = state.output or ""
    return {"callID": call_id, "tool": tool, "state": shown}


def _done(event: Done) -> dict[str, Any]:
    spent = event.metrics.get("durationMs", 0.0)
    return {
        "text": event.text,
        "reasoning": event.reasoning,
        "tools": [_tool(call.call_id, call.tool, call.state) for call in event.tools],
        "usage": {
            "inputTokens": event.usage.input_tokens,
            "outputTokens": event.usage.output_tokens,
            "reasoningTokens": event.usage.reasoning_tokens,
            "totalTokens": event.usage.total_tokens,
        },
        "metrics": {"timing": {"totalMs": spent, "genMs": spent}},
    }
