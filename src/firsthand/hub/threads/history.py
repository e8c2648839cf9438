"""What an agent is told of the conversation so far: whole turns, the newest ones, bounded."""

from collections.abc import Sequence

from firsthand.hub.threads.message import Message, Speaker
from firsthand.protocol.questions import Turn

MAX_TURNS = 12
# About 15,000 tokens, a fraction of what any model of today takes in.
MAX_CHARS = 60_000


def turns_of(messages: Sequence[Message]) -> tuple[Turn, ...]:
    """Make turns of a thread's messages in their order.

    A question counts once with the last answer that says something; questions without one are
    left out, and so is what lies before the bounds.
    """
    turns: list[Turn] = []
    for index, message in enumerate(messages):
        if message.speaker is Speaker.USER:
            answer = _answer_after(messages, index)
            if answer:
                turns.append(Turn(question=message.text, answer=answer))
    kept: list[Turn] = []
    room = MAX_CHARS
    for turn in reversed(turns[-MAX_TURNS:]):
        room -= len(turn.question) + len(turn.answer)
        if room < 0:
            break
        kept.append(turn)
    return tuple(reversed(kept))


def _answer_after(messages: Sequence[Message], index: int) -> str:
    text = ""
    for message in messages[index + 1 :]:
        if message.speaker is Speaker.USER:
            break
        if message.completed_at is not None and message.text:
            text = message.text
    return text
