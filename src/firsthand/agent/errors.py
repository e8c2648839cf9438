"""What can go wrong in an agent, as one tree.

AgentError              message, tag (a stable word for programs) and, where it helps, a hint
├── BadRequest          the caller must send something else (400)
├── UnknownRun          no such run here (404)
├── ToolError           a tool could not do it; the model reads the message and goes on
└── ModelError          the model failed (in `models/port.py`); the run ends as failed
"""


class AgentError(Exception):
    """An expected failure with a message for people and a tag for programs."""

    tag = "AgentError"

    def __init__(self, message: str, *, hint: str | None = None, tag: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if tag is not None:
            self.tag = tag


class BadRequest(AgentError):
    """The request makes no sense; the message says why."""

    tag = "BadRequest"


class UnknownRun(AgentError):
    """No run of that id is known, or it has been forgotten."""

    tag = "UnknownRun"


class ToolError(AgentError):
    """A tool call failed in a way that the model can mend."""

    tag = "ToolError"
