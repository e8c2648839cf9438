"""Asks a question through the running hub and follows the run to its end."""

from collections.abc import Sequence
from typing import Any

import anyio

from firsthand.cli.answer import Answer
from firsthand.cli.answer_view import AnswerView
from firsthand.cli.failures import CommandFailed
from firsthand.cli.hub_client import HubClient, connect
from firsthand.hub.presence import Presence

_CANCEL_SECONDS = 5.0


async def answer_through_hub(
    presence: Presence, question: str, resources: Sequence[str], view: AnswerView
) -> Answer:
    """Ask, and return the whole answer. Ctrl-C cancels the run in the hub, too."""
    answer = Answer(question, view)
    body: dict[str, Any] = {"message": question}
    if resources:
        body["resources"] = list(resources)
    async with connect(presence) as hub:
        try:
            async for numbered in hub.ask(body):
                answer.take(numbered.event)
        except anyio.get_cancelled_exc_class():
            await _cancel(hub, answer)
            raise
        except CommandFailed as error:
            raise _with_way_back(error, answer) from error
    if not answer.is_complete and answer.now.failure is None:
        raise _with_way_back(CommandFailed("The hub ended the stream before the answer."), answer)
    return answer


async def _cancel(hub: HubClient, answer: Answer) -> None:
    if answer.session is None:
        return
    with anyio.move_on_after(_CANCEL_SECONDS, shield=True):
        try:
            await hub.call("POST", f"/runs/{answer.session.run_id}/cancel")
        except CommandFailed:
            # The hub is gone as well: nothing is left to be stopped from here.
            return


def _with_way_back(error: CommandFailed, answer: Answer) -> CommandFailed:
    if answer.session is None:
        return error
    hint = f"The run goes on as {answer.session.run_id}; its answer will be in the browser."
    return CommandFailed(error.message, hint, code=error.code)
