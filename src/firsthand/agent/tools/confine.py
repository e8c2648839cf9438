"""Opens files and folders inside a checkout and nowhere else, symbolic links included.

Every part of a path is opened by itself, relative to the folder before it and without following
links; a link is then walked by the same rules. So no name can lead out of the tree, not even one
that changes while it is being looked at.
"""

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from firsthand.agent.errors import ToolError

_MAX_LINKS: Final = 40
_MAX_PARTS: Final = 256
_LOOK: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class OutsideCheckout(ToolError):
    """The path leads out of the checkout."""

    tag = "OutsideCheckout"


class Confined:
    """A file or folder that was found inside a tree; a context manager that owns a descriptor.

    `real` is its path in the tree with all links resolved, "" for the tree itself.
    """

    def __init__(self, fd: int, real: str) -> None:
        self._fd = fd
        self.real = real

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    @property
    def is_folder(self) -> bool:
        """Whether this is a folder."""
        return stat.S_ISDIR(os.fstat(self._fd).st_mode)

    @property
    def is_file(self) -> bool:
        """Whether this is an ordinary file, neither a device nor a pipe."""
        return stat.S_ISREG(os.fstat(self._fd).st_mode)

    @property
    def size(self) -> int:
        """Size in bytes."""
        return os.fstat(self._fd).st_size

    def open(self) -> int:
        """Open it for reading; the caller closes the descriptor."""
        # The descriptor at hand names this very file; /proc gives it back opened for reading.
        return os.open(f"/proc/self/fd/{self._fd}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)


def find(tree: Path, path: str) -> Confined:
    """Find `path`, relative to the tree. Raises `OutsideCheckout` and `ToolError`."""
    if "\0" in path:
        raise ToolError("A path cannot hold a NUL character.")
    if path.startswith("/"):
        raise OutsideCheckout(f"{path}: paths are relative to the checkout.")
    walk = _Walk(tree, path)
    try:
        return walk.run()
    finally:
        walk.close()


class _Walk:
    def __init__(self, tree: Path, path: str) -> None:
        self._path = path
        self._fds = [os.open(tree, _LOOK | os.O_DIRECTORY)]
        self._names: list[str] = []
        self._todo = list(reversed(path.split("/")))
        self._links = 0

    def close(self) -> None:
        for fd in self._fds:
            with suppress(OSError):
                os.close(fd)

    def run(self) -> Confined:
        while self._todo:
            self._step(self._todo.pop())
        return Confined(self._fds.pop(), "/".join(self._names))

    def _step(self, part: str) -> None:
        if part in {"", "."}:
            return
        if part == "..":
            self._up()
            return
        if len(self._names) >= _MAX_PARTS:
            raise ToolError(f"{self._path}: the path is too deep.")
        try:
            fd = os.open(part, _LOOK, dir_fd=self._fds[-1])
        except FileNotFoundError:
            raise ToolError(f"{self._path}: no such file or folder.") from None
        except (NotADirectoryError, PermissionError, OSError) as error:
            raise ToolError(f"{self._path}: {error.strerror or 'cannot be opened'}.") from error
        if stat.S_ISLNK(os.fstat(fd).st_mode):
            self._link(fd)
        else:
            self._fds.append(fd)
            self._names.append(part)

    def _up(self) -> None:
        if not self._names:
            raise OutsideCheckout(f"{self._path}: leads out of the checkout.")
        os.close(self._fds.pop())
        self._names.pop()

    def _link(self, fd: int) -> None:
        try:
            target = os.readlink("", dir_fd=fd)
        finally:
            os.close(fd)
        self._links += 1
        if self._links > _MAX_LINKS:
            raise ToolError(f"{self._path}: too many symbolic links.")
        if target.startswith("/"):
            raise OutsideCheckout(f"{self._path}: a symbolic link leads out of the checkout.")
        self._todo.extend(reversed(target.split("/")))
