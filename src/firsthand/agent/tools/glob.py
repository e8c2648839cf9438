"""The tool `glob`: finds files by a pattern on their path, by ripgrep's file walk."""

import asyncio
from pathlib import Path
from typing import Any, Final

from firsthand.agent.tools import arguments, ripgrep
from firsthand.agent.tools.bounded import BoundedText
from firsthand.agent.tools.checkouts import Place
from firsthand.agent.tools.tool import Tool, ToolContext, ToolOutput, describe

_DEFAULT_LIMIT: Final = 200
_MAX_LIMIT: Final = 2_000
_MAX_BYTES: Final = 16 * 1024 * 1024

_PROPERTIES: Final = {
    "pattern": {
        "type": "string",
        "description": "such as *.py (at any depth), src/**/test_*.py or **/README*",
    },
    "path": {"type": "string", "description": "name, or name/folder to look in (default: all)"},
    "limit": {"type": "integer", "description": f"files (default {_DEFAULT_LIMIT})"},
}


async def _run(context: ToolContext, given: dict[str, Any]) -> ToolOutput:
    arguments.refuse_unknown(given, _PROPERTIES)
    pattern = arguments.text(given, "pattern").removeprefix("./")
    limit = arguments.number(given, "limit", _DEFAULT_LIMIT, low=1, high=_MAX_LIMIT)
    places = context.checkouts.places(arguments.optional_text(given, "path"))
    results = await asyncio.gather(
        *(_find(context, place, pattern, context.limits.seconds) for place in places)
    )
    paths = sorted({path for found, _ in results for path in found})
    cuts = sorted({cut for _, cut in results if cut})
    if not paths:
        return ToolOutput("No file matches." + "".join(f" [{cut}]" for cut in cuts), {"paths": []})
    out = BoundedText(context.limits.output_chars)
    shown = [path for path in paths[:limit] if out.add(path)]
    note = f"{len(shown)} of {len(paths)} files shown" if len(shown) < len(paths) else None
    return ToolOutput(out.text(note, *cuts), {"paths": shown, "total": len(paths)})


async def _find(
    context: ToolContext, place: Place, pattern: str, seconds: float
) -> tuple[list[str], str | None]:
    # The model may write the resource's name in front, as it does everywhere else.
    for name in context.checkouts.names:
        if pattern.startswith(f"{name}/"):
            if name != place.checkout.name:
                return [], None
            pattern = pattern[len(name) + 1 :]
            break
    with place.find() as found:
        target = found.real
    result = await ripgrep.run(
        # A leading slash keeps a pattern that names folders at the top, as in an ignore file.
        ["--files", "--null", f"--glob={pattern}", "--", f"./{target}"],
        Path(place.checkout.path),
        seconds=seconds,
        max_bytes=_MAX_BYTES,
    )
    paths = [
        f"{place.checkout.name}/{raw.decode('utf-8', 'replace').removeprefix('./')}"
        for raw in result.output.split(b"\0")
        if raw
    ]
    return paths, result.cut


GLOB: Final = Tool(
    describe("glob", "Find files by a pattern on their path.", _PROPERTIES, ("pattern",)), _run
)
