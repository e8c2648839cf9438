"""The title of a thread, what an agent is told of it, and the ends of runs."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from firsthand.hub.ids import MessageId, ThreadId
from firsthand.hub.threads.history import MAX_CHARS, MAX_TURNS, turns_of
from firsthand.hub.threads.message import Message, Speaker
from firsthand.hub.threads.run import MOVES, UNFINISHED
from firsthand.hub.threads.thread import title_from
from firsthand.protocol.questions import RunState

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_titles() -> None:
    assert title_from("  How\n does it\twork? ") == "How does it work?"
    long = title_from("word " * 40)
    assert len(long) <= 80
    assert long.endswith("word…")


@given(st.text(min_size=1, max_size=500))
def test_a_title_is_one_short_line(text: str) -> None:
    title = title_from(text)
    assert len(title) <= 80
    assert "\n" not in title


def message(position: int, speaker: Speaker, text: str, *, complete: bool = True) -> Message:
    return Message(
        id=MessageId(f"me_{position}"),
        thread_id=ThreadId("th"),
        position=position,
        speaker=speaker,
        text=text,
        parts=None,
        run_id=None,
        created_at=NOW,
        completed_at=NOW if complete else None,
    )


def test_history_has_whole_turns_only() -> None:
    told = turns_of(
        [
            message(1, Speaker.USER, "one?"),
            message(2, Speaker.ASSISTANT, "half"),
            message(3, Speaker.ASSISTANT, "one."),
            message(4, Speaker.USER, "two?"),
            message(5, Speaker.ASSISTANT, ""),
            message(6, Speaker.USER, "three?"),
            message(7, Speaker.ASSISTANT, "thr", complete=False),
        ]
    )
    assert [(t.question, t.answer) for t in told] == [("one?", "one.")]


def test_history_is_bounded_and_keeps_the_newest() -> None:
    many = [
        message(number, Speaker.USER if number % 2 else Speaker.ASSISTANT, str(number))
        for number in range(1, 101)
    ]
    told = turns_of(many)
    assert len(told) == MAX_TURNS
    assert told[-1].answer == "100"
    long = [
        message(1, Speaker.USER, "x" * MAX_CHARS),
        message(2, Speaker.ASSISTANT, "old"),
        message(3, Speaker.USER, "new?"),
        message(4, Speaker.ASSISTANT, "new"),
    ]
    assert [t.answer for t in turns_of(long)] == ["new"]


def test_runs_end_in_three_ways_and_stay_there() -> None:
    assert set(RunState) == set(MOVES)
    ends = {RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED}
    assert set(RunState) - UNFINISHED == ends
    for state in UNFINISHED:
        assert {RunState.FAILED, RunState.CANCELLED} <= MOVES[state]
