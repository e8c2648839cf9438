"""The ends of a run other than its answer: words for the journal, and what the relay raises."""

from firsthand.hub.errors import Unavailable
from firsthand.protocol.events import RunFailed

STOPPED = RunFailed(error_tag="Cancelled", message="The answer was stopped.")
RETRY = "What was said so far is kept. Retry to ask again."
DEFECT = RunFailed(
    error_tag="InternalError",
    message="Something went wrong inside Firsthand.",
    hint="Retry; if it happens again, the log of the hub says more.",
)


class AnswerLost(Unavailable):
    """The agent that was writing the answer is gone, or has forgotten it."""

    title = "The answer was lost"


class AnswerTooLong(Unavailable):
    """The agent went on beyond every limit that it was given."""

    title = "The answer has no end"
