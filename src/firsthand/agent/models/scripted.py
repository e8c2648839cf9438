"""A model that plays a script: the double for tests of every suite, and for trying things out.

It is chosen by `RunRequest.model.dialect == "scripted"`. What it plays is found in this order:

1. A fenced JSON block (```` ```json … ``` ````) in the question: a list of steps.
2. The model's name, `ModelChoice.model`:
   * `slow:200x20ms`: 200 deltas ("word-0001 " …), one every 20 ms counted from the start of the
     turn, so that the whole takes 4 s however busy the machine is;
   * `say:TEXT`: the text, word by word, without pauses;
   * `fail:MESSAGE`: fails at once;
   * anything else: a short fixed answer.

Steps, each a JSON object with one of these keys:

* `{"text": "…", "pieces": 10, "everyMs": 20}`: text, cut into so many deltas at such intervals
  (defaults: one delta, no interval); `{"reasoning": "…"}` likewise;
* `{"repeat": 200, "text": "word {n} ", "everyMs": 20}`: the text so many times, `{n}` counted;
* `{"pauseMs": 500}`: nothing for so long;
* `{"tool": "grep", "input": {…}}`: a tool call; calls that stand side by side are asked for at
  once, and the steps after them are the model's next turn;
* `{"usage": {"inputTokens": 10, "outputTokens": 5}}`: what this turn says it used;
* `{"cutShort": true}`: the turn ends at the output limit;
* `{"fail": "message", "tag": "…"}`: the model fails here.

A script that ends with tool calls is followed by an empty turn, as by a model that says nothing.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from firsthand.agent.models.port import (
    AssistantMessage,
    ModelError,
    ModelMessage,
    ModelPart,
    ModelTurn,
    ReasoningPart,
    TextPart,
    ToolRequest,
    TurnEnded,
    UserMessage,
)
from firsthand.protocol.events import Usage

_FENCE: Final = re.compile(r"```(?:json)?\s*\n(.*?)```", re.DOTALL)
_SLOW: Final = re.compile(r"slow:(\d+)x(\d+)ms")
_FIXED: Final = "This is a scripted answer."

Step = dict[str, Any]


@dataclass(slots=True)
class _Playing:
    """What one turn has said so far."""

    text: list[str] = field(default_factory=list[str])
    requests: list[ToolRequest] = field(default_factory=list[ToolRequest])
    usage: Usage = field(default_factory=Usage)
    cut_short: bool = False


class Scripted:
    """Plays the script of the question or of the model's name; see the module."""

    def __init__(self, name: str) -> None:
        self._name = name

    async def answer(self, turn: ModelTurn) -> AsyncGenerator[ModelPart, None]:
        """Play the turn of the script that the conversation has come to."""
        question, number = _position(turn.messages)
        turns = _turns(_script(question, self._name))
        playing = _Playing()
        for step in turns[number] if number < len(turns) else []:
            async for part in _play(step, playing, number):
                yield part
        message = AssistantMessage("".join(playing.text), tuple(playing.requests))
        yield TurnEnded(message, playing.usage, cut_short=playing.cut_short)


def _position(messages: Sequence[ModelMessage]) -> tuple[str, int]:
    """Return the question and how many turns have answered it so far."""
    turns = 0
    for message in reversed(messages):
        if isinstance(message, AssistantMessage):
            turns += 1
        elif isinstance(message, UserMessage):
            return message.text, turns
    return "", turns


def _script(question: str, name: str) -> list[Step]:
    fenced = _FENCE.search(question)
    if fenced is not None:
        try:
            return msgspec.json.decode(fenced[1], type=list[Step])
        except msgspec.DecodeError as error:
            raise ModelError(f"The script is no JSON list of steps: {error}") from error
    slow = _SLOW.fullmatch(name)
    if slow is not None:
        return [{"repeat": int(slow[1]), "text": "word-{n} ", "everyMs": int(slow[2])}]
    if name.startswith("say:"):
        text = name.removeprefix("say:")
        return [{"text": text, "pieces": len(text.split())}]
    if name.startswith("fail:"):
        return [{"fail": name.removeprefix("fail:")}]
    return [{"text": _FIXED, "pieces": 4}]


def _turns(script: Sequence[Step]) -> list[list[Step]]:
    """Cut the script after each group of tool calls."""
    turns: list[list[Step]] = [[]]
    called = False
    for step in script:
        if called and "tool" not in step:
            turns.append([])
            called = False
        called = called or "tool" in step
        turns[-1].append(step)
    return turns


async def _play(step: Step, playing: _Playing, turn: int) -> AsyncIterator[ModelPart]:
    if "fail" in step:
        raise ModelError(str(step["fail"]), tag=step.get("tag"), hint=step.get("hint"))
    if "pauseMs" in step:
        await asyncio.sleep(step["pauseMs"] / 1000)
    if "usage" in step:
        playing.usage = msgspec.convert(step["usage"], Usage)
    if "cutShort" in step:
        playing.cut_short = bool(step["cutShort"])
    if "tool" in step:
        arguments = msgspec.json.encode(step.get("input", {})).decode()
        call_id = f"call-{turn}-{len(playing.requests)}"
        playing.requests.append(ToolRequest(call_id, str(step["tool"]), arguments))
    async for piece in _on_time(_pieces(step), step.get("everyMs", 0) / 1000):
        if "reasoning" in step:
            yield ReasoningPart(piece)
        else:
            playing.text.append(piece)
            yield TextPart(piece)


def _pieces(step: Step) -> list[str]:
    text = str(step.get("text", step.get("reasoning", "")))
    if "repeat" in step:
        return [text.replace("{n}", f"{n:04d}") for n in range(1, int(step["repeat"]) + 1)]
    count = max(1, int(step.get("pieces", 1)))
    size = max(1, -(-len(text) // count))
    return [text[start : start + size] for start in range(0, len(text), size)]


async def _on_time(pieces: Sequence[str], interval: float) -> AsyncIterator[str]:
    """Yield the n-th piece at n intervals after the start: lateness does not add up."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    for number, piece in enumerate(pieces):
        await asyncio.sleep(max(0.0, start + number * interval - loop.time()))
        yield piece
