"""The checkouts of one run: from a path as the model writes it to a place in a tree."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from firsthand.agent.errors import ToolError
from firsthand.agent.tools import confine
from firsthand.protocol.questions import CheckoutRef


@dataclass(frozen=True, slots=True)
class Place:
    """A path inside a checkout, not yet known to exist; `path` is "" for the whole checkout."""

    checkout: CheckoutRef
    path: str

    @property
    def shown(self) -> str:
        """The place as people and models see it: name and path."""
        return f"{self.checkout.name}/{self.path}" if self.path else self.checkout.name

    def find(self) -> confine.Confined:
        """Open it, confined to its tree. Raises `ToolError`."""
        try:
            return confine.find(Path(self.checkout.path), self.path)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ToolError(f"The checkout of {self.checkout.name} is not there.") from error


class Checkouts:
    """The checkouts that a run may read, by name."""

    def __init__(self, refs: Sequence[CheckoutRef]) -> None:
        self._refs = {ref.name: ref for ref in refs}
        self._longest_first = sorted(self._refs, key=len, reverse=True)

    @property
    def names(self) -> list[str]:
        """All names, in the order in which they came."""
        return list(self._refs)

    def __iter__(self) -> Iterator[CheckoutRef]:
        return iter(self._refs.values())

    def get(self, name: str) -> CheckoutRef | None:
        """Return the checkout of that name."""
        return self._refs.get(name)

    def locate(self, path: str) -> Place:
        """Read `name/path/in/it`; the name may be left out where there is one checkout only."""
        cleaned = path.strip().removeprefix("./").rstrip("/")
        for name in self._longest_first:
            if cleaned == name:
                return Place(self._refs[name], "")
            if cleaned.startswith(name + "/"):
                return Place(self._refs[name], cleaned[len(name) + 1 :])
        if len(self._refs) == 1:
            (only,) = self._refs.values()
            return Place(only, "" if cleaned in {"", "."} else cleaned)
        raise ToolError(f"{path}: paths start with one of these names: {', '.join(self._refs)}.")

    def places(self, path: str | None) -> list[Place]:
        """Return where to search: the path, or else the search paths of every checkout."""
        if path is not None and path.strip() not in {"", ".", "/"}:
            return [self.locate(path)]
        return [
            Place(ref, prefix.strip("/"))
            for ref in self._refs.values()
            for prefix in (ref.search_paths or ("",))
        ]
