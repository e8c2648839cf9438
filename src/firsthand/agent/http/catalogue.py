"""What the npm server's routes know: added folders, checkouts that runs brought, the model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from firsthand.agent.errors import BadRequest
from firsthand.protocol.limits import NOTES_CHARS, RESOURCE_NAME_CHARS
from firsthand.protocol.message import Message
from firsthand.protocol.questions import CheckoutRef, Dialect, ModelChoice

_MAX_SEEN: Final = 200
_EXTRACTIVE: Final = ModelChoice(
    dialect=Dialect.EXTRACTIVE, provider="firsthand", model="extractive"
)


class NewResource(Message, frozen=True, kw_only=True):
    """Body of `POST /config/resources`."""

    type: str
    name: str
    path: str = ""
    special_notes: str = ""


class ConfigError(BadRequest):
    """The resource or model cannot be set so."""

    tag = "ConfigError"


class ResourceError(BadRequest):
    """The resource is not here, or cannot be had here."""

    tag = "ResourceError"


@dataclass(slots=True)
class Catalogue:
    """The resources by name, and the model that answers."""

    folder: Path | None
    added: dict[str, CheckoutRef] = field(default_factory=dict[str, CheckoutRef])
    seen: dict[str, CheckoutRef] = field(default_factory=dict[str, CheckoutRef])
    model: ModelChoice = _EXTRACTIVE

    def see(self, refs: tuple[CheckoutRef, ...]) -> None:
        """Remember the checkouts of a run; the newest of a name counts."""
        for ref in refs:
            self.seen.pop(ref.name, None)
            self.seen[ref.name] = ref
        while len(self.seen) > _MAX_SEEN:
            del self.seen[next(iter(self.seen))]

    def all(self) -> dict[str, CheckoutRef]:
        """Return every resource by name."""
        return {**self.seen, **self.added}

    def pick(self, names: tuple[str, ...]) -> tuple[CheckoutRef, ...]:
        """Return the named resources, or all of them. Raises `ResourceError`."""
        known = self.all()
        if not names:
            return tuple(known.values())
        missing = [name for name in names if name not in known]
        if missing:
            raise ResourceError(
                f'Resource "{missing[0]}" is not here.',
                hint=f"Resources here: {', '.join(known) or 'none'}. Others are added to the "
                "project in Firsthand, which fetches them.",
            )
        return tuple(known[name] for name in dict.fromkeys(names))

    def add(self, wanted: NewResource) -> None:
        """Add a folder. Raises `ConfigError` and `ResourceError`."""
        if not wanted.name or len(wanted.name) > RESOURCE_NAME_CHARS:
            raise ConfigError(f"A resource's name has 1 to {RESOURCE_NAME_CHARS} characters.")
        if len(wanted.special_notes) > NOTES_CHARS:
            raise ConfigError(f"Notes may have {NOTES_CHARS} characters.")
        if wanted.type != "local":
            raise ResourceError(
                f'This agent has no network and cannot fetch "{wanted.name}".',
                hint="Add it to the project in Firsthand, which fetches it and mounts it here.",
            )
        if wanted.name in self.all():
            raise ConfigError(
                f'Resource "{wanted.name}" already exists', hint="Choose a different name."
            )
        path = Path(wanted.path).resolve()
        inside = self.folder is None or path.is_relative_to(self.folder.resolve())
        if not inside or not path.is_dir():
            raise ResourceError(f"There is no folder {wanted.path} that this agent may read.")
        self.added[wanted.name] = CheckoutRef(
            name=wanted.name,
            source=str(path),
            path=str(path),
            ref="local",
            commit="",
            notes=wanted.special_notes,
        )


def listed_resource(ref: CheckoutRef) -> Mapping[str, Any]:
    """Return a resource as `GET /resources` lists it."""
    notes = ref.notes or None
    if ref.source.startswith("npm:"):
        package, _, version = ref.source.removeprefix("npm:").rpartition("@")
        return {
            "name": ref.name,
            "type": "npm",
            "package": package or version,
            "version": version if package else None,
            "specialNotes": notes,
        }
    if ref.source.startswith(("https://", "http://")):
        return {
            "name": ref.name,
            "type": "git",
            "url": ref.source.removesuffix(f"@{ref.ref}"),
            "branch": ref.ref,
            "searchPath": ref.search_paths[0] if ref.search_paths else None,
            "searchPaths": list(ref.search_paths) or None,
            "specialNotes": notes,
        }
    return {"name": ref.name, "type": "local", "path": ref.path, "specialNotes": notes}
