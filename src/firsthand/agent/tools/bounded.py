"""Text that stays within a bound and says what it left out."""


class BoundedText:
    """Collects lines up to a number of characters; counts what did not fit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lines: list[str] = []
        self._used = 0
        self.dropped = 0

    def add(self, line: str) -> bool:
        """Add a line; `False` when it did not fit, after which no other line is taken."""
        if self.dropped or self._used + len(line) + 1 > self._limit:
            self.dropped += 1
            return False
        self._lines.append(line)
        self._used += len(line) + 1
        return True

    def text(self, *notes: str | None) -> str:
        """Return the lines, then the notes in brackets."""
        said = [f"[{note}]" for note in notes if note]
        return "\n".join([*self._lines, *said])


def clip(line: str, width: int) -> str:
    """Shorten a long line, saying by how much."""
    if len(line) <= width:
        return line
    return f"{line[:width]} … [{len(line) - width} more characters]"
