"""What is written where: the answer to standard output, progress to a terminal's standard error."""

import re
import shutil
import sys
from typing import TextIO

# Control characters other than tab and line feed: text out of a repository could otherwise
# move the cursor, change the window's title, or pretend to be something else.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """Return the text without characters that a terminal would obey."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


def is_terminal(stream: TextIO) -> bool:
    """Tell whether a person reads this stream."""
    return stream.isatty()


class ProgressLine:
    """One line on standard error that is written over; silent where no terminal is."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._alive = is_terminal(self._stream)
        self._shown = ""

    def show(self, text: str) -> None:
        """Replace what the line says."""
        if not self._alive:
            return
        width = shutil.get_terminal_size().columns - 1
        line = " ".join(plain(text).split())
        line = line if len(line) <= width else line[: width - 1] + "…"
        if line != self._shown:
            self._stream.write(f"\r\x1b[2K{line}")
            self._stream.flush()
            self._shown = line

    def clear(self) -> None:
        """Take the line away, so that other output can follow."""
        if self._alive and self._shown:
            self._stream.write("\r\x1b[2K")
            self._stream.flush()
            self._shown = ""


def size_for_people(count: int) -> str:
    """Return a number of bytes as people read it: `3.2 MB`."""
    amount = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            return f"{count} bytes" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1000
    raise AssertionError("the last unit takes every amount")
