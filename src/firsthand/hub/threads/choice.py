"""What a question reads: resources of its project by name, or sources named on the spot."""

from collections.abc import Sequence

from firsthand.hub.errors import BadInput
from firsthand.hub.projects.resource import Resource, ResourceSpec, free_name, make_spec
from firsthand.hub.threads.run import AskedSource
from firsthand.protocol.limits import RESOURCES_PER_QUESTION


def choose_sources(
    wanted: Sequence[str], present: Sequence[Resource], *, allow_local: bool
) -> tuple[AskedSource, ...]:
    """Return what is to be read; nothing wanted means all that is present and not broken.

    Raises `BadInput` for what is neither a name nor a source, for nothing at all and for too much.
    """
    if not wanted and not present:
        raise BadInput(
            "There is nothing to read yet.",
            hint="Add a repository or a package to the project, or name one in the question.",
        )
    if not wanted:
        whole = [resource.spec for resource in present if not resource.is_broken]
        if not whole:
            raise BadInput(
                "None of the sources could be fetched.",
                hint="See on the home page why, mend or remove them, or add another.",
            )
        return _bounded(whole)
    named = {resource.name: resource.spec for resource in present}
    chosen: dict[str, ResourceSpec] = {}
    for text in dict.fromkeys(wanted):
        spec = named.get(text) or _one_off(text, {*named, *chosen}, allow_local=allow_local)
        chosen[spec.name] = spec
    return _bounded(tuple(chosen.values()))


def without_broken(
    asked: tuple[AskedSource, ...], present: Sequence[Resource]
) -> tuple[AskedSource, ...]:
    """Return what is worth asking again: what was asked, less what has turned out broken."""
    broken = {resource.name for resource in present if resource.is_broken}
    return tuple(source for source in asked if source.name not in broken) or asked


def _one_off(text: str, taken: set[str], *, allow_local: bool) -> ResourceSpec:
    try:
        spec = make_spec(text, allow_local=allow_local)
    except BadInput as error:
        raise BadInput(
            f"“{text[:80]}” is neither a resource of this project nor a source. {error.detail}",
            hint=error.hint,
        ) from error
    return ResourceSpec(name=free_name(spec.name, taken), source=spec.source)


def _bounded(specs: Sequence[ResourceSpec]) -> tuple[AskedSource, ...]:
    if len(specs) > RESOURCES_PER_QUESTION:
        raise BadInput(
            f"A question may read at most {RESOURCES_PER_QUESTION} resources, not {len(specs)}.",
            hint="Name those that the question is about.",
        )
    return tuple(
        AskedSource(
            name=spec.name,
            kind=spec.source.kind,
            location=spec.source.location,
            ref=spec.source.ref,
            search_paths=spec.search_paths,
            notes=spec.notes,
        )
        for spec in specs
    )
