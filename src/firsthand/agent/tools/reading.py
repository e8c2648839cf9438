"""What a run has read so far: which lines of which files a tool has shown."""


class ReadLog:
    """Remembers shown lines; a citation counts as verified only if its lines were shown."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, str], set[int]] = {}

    def add(self, resource: str, path: str, start: int, end: int) -> None:
        """Note that the lines from `start` to `end`, both inclusive, were shown."""
        self._lines.setdefault((resource, path), set()).update(range(start, end + 1))

    def covers(self, resource: str, path: str, start: int, end: int) -> bool:
        """Tell whether every line of the range was shown."""
        lines = self._lines.get((resource, path))
        return lines is not None and all(number in lines for number in range(start, end + 1))
