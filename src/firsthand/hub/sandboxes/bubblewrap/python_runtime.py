"""Which Python runs the agent, and which folders of this host it needs to be readable."""

import compileall
import sys
from dataclasses import dataclass
from pathlib import Path

import firsthand

# What an installation calls the folders of its packages. Other entries of the search path may be
# a folder that somebody works in.
_PACKAGE_FOLDERS = {"site-packages", "dist-packages"}


@dataclass(frozen=True, slots=True)
class PythonRuntime:
    """An interpreter and the folders that it reads, none of them inside another."""

    executable: Path
    folders: tuple[Path, ...]
    package: Path

    @classmethod
    def of_this_process(cls) -> "PythonRuntime":
        """Describe the Python that runs the hub: the agent is part of the same distribution."""
        package = Path(firsthand.__file__).resolve().parent
        wanted = [
            *_prefix_folders(Path(sys.base_prefix)),
            # An installation may be reached through a link and load its libraries behind it.
            *_prefix_folders(Path(sys.base_prefix).resolve()),
            *_prefix_folders(Path(sys.prefix)),
            *(Path(entry) for entry in sys.path if Path(entry).name in _PACKAGE_FOLDERS),
            package,
        ]
        return cls(Path(sys.executable), _outermost(wanted), package)

    def compile(self) -> None:
        """Write the package's bytecode, which a sandbox reads but cannot write.

        Where the package's folder is not ours to write, its installer has done it.
        """
        for part in ("agent", "protocol", "sources"):
            compileall.compile_dir(self.package / part, quiet=2)
        compileall.compile_file(self.package / "__init__.py", quiet=2)


def _prefix_folders(prefix: Path) -> list[Path]:
    """Return what Python needs of the place it is installed in.

    A system-wide prefix holds much that is not Python's, so only parts of it are taken.
    """
    if prefix in {Path("/usr"), Path("/usr/local")}:
        return [prefix / "bin", prefix / "lib"]
    return [prefix]


def _outermost(folders: list[Path]) -> tuple[Path, ...]:
    unique = sorted({folder for folder in folders if folder.is_dir()})
    return tuple(f for f in unique if not any(other in f.parents for other in unique))
