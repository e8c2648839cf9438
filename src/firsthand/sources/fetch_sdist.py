"""Downloads the source archive of one Python package, run in a jail. Nothing of it is executed.

Arguments: NAME VERSION FOLDER PLACES, the last as JSON of `Places`.
"""

import sys
from pathlib import Path

import msgspec
from unearth import Link, PackageFinder, UnpackError
from unearth.fetchers import PyPIClient


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """Where pip is configured to look. No `index_url` means none; an empty one, pip's default."""

    index_url: str | None
    extra_index_urls: list[str]
    find_links: list[str]
    trusted_hosts: list[str]
    certificate: str | None


def _choose(name: str, version: str, places: Places) -> tuple[PackageFinder, Link | None]:
    # A finder that is told of no place takes the default one; that is where it is known from.
    default = [str(place["url"]) for place in PackageFinder().sources]
    first = [] if places.index_url is None else [places.index_url] if places.index_url else default
    session = PyPIClient(verify=places.certificate or True, trusted_hosts=places.trusted_hosts)
    finder = PackageFinder(
        session,
        index_urls=[*first, *places.extra_index_urls],
        find_links=places.find_links,
        ignore_compatibility=True,
    )
    found = finder.find_matches(f"{name}=={version}", allow_yanked=True, allow_prereleases=True)
    links = [package.link for package in found]
    # Wheels come only for other systems here, or pip would have had one: better than nothing.
    return finder, next((link for link in links if not link.is_wheel), links[0] if links else None)


def main(name: str, version: str, folder: Path, places: Places) -> str | None:
    """Download, or return what is wrong."""
    finder, link = _choose(name, version, places)
    if link is None:
        return f"No matching distribution found for {name}=={version}"
    try:
        finder.download(link, folder)
    except UnpackError as error:
        return f"Downloading {link.filename} failed: {error}"
    finally:
        finder.session.close()
    return None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3], Path(sys.argv[3]), msgspec.json.decode(sys.argv[4], type=Places)))
