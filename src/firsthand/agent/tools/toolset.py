"""The tools of a run: which there are, and how a model's call becomes an output or an error."""

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from firsthand.agent.errors import ToolError
from firsthand.agent.models.port import ToolDescription
from firsthand.agent.tools.glob import GLOB
from firsthand.agent.tools.grep import GREP
from firsthand.agent.tools.list_files import LIST_FILES
from firsthand.agent.tools.read_file import READ_FILE
from firsthand.agent.tools.search import SEARCH
from firsthand.agent.tools.tool import ToolContext, ToolOutput

TOOLS: Final = {tool.description.name: tool for tool in (SEARCH, GREP, READ_FILE, GLOB, LIST_FILES)}
# Other agents' names for the same things; models fall back on them from habit.
_ALIASES: Final = {"read": "read_file", "readFile": "read_file", "list": "list_files"} | {
    "listFiles": "list_files"
}
# No tool takes more, and every event of a call repeats its arguments.
_MAX_ARGUMENTS: Final = 20_000
# Flat, as those of every tool: what is nested without end could be read but not be written again.
_ARGUMENTS: Final = dict[str, str | int | float | bool | None]


@dataclass(frozen=True, slots=True)
class Toolset:
    """The tools over the checkouts of one run; keeps what was read in the context's log."""

    context: ToolContext

    @property
    def descriptions(self) -> list[ToolDescription]:
        """The tools as a model sees them."""
        return [tool.description for tool in TOOLS.values()]

    async def call(self, name: str, given: dict[str, Any]) -> ToolOutput:
        """Run a tool. Raises `ToolError` for all that the caller can mend."""
        tool = TOOLS.get(_ALIASES.get(name, name))
        if tool is None:
            raise ToolError(
                f"There is no tool {name[:80]!r}; there are {', '.join(TOOLS)}.", tag="UnknownTool"
            )
        try:
            return await tool.run(self.context, given)
        except OSError as error:
            # The trees are shared and may go away, or hold what the file system cannot give.
            raise ToolError(f"{name} failed: {error.strerror or error}.") from error
        except ValueError as error:
            # Text that no program and no file system takes: a NUL, half a character.
            raise ToolError(f"{name} cannot take these arguments: {error}.") from error


def parse_arguments(text: str) -> dict[str, Any]:
    """Read a model's arguments, a JSON object. Raises `ToolError`."""
    if not text.strip():
        return {}
    if len(text) > _MAX_ARGUMENTS:
        raise ToolError(f"The arguments have more than {_MAX_ARGUMENTS:,} characters.")
    try:
        return msgspec.json.decode(text, type=_ARGUMENTS)
    except msgspec.DecodeError as error:
        raise ToolError(f"The arguments are no JSON object: {error}.") from error
