"""Downloads the source archive of one Python package, run in a jail. Nothing of it is executed.

Arguments: NAME VERSION FOLDER PLACES, the last as JSON of `Places`.
"""

import shutil
import ssl
import sys
from pathlib import Path
from typing import cast

import msgspec
from unearth import Link, PackageFinder, UnpackError
from unearth.auth import MultiDomainBasicAuth
from unearth.fetchers import Fetcher, PyPIClient


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """Where pip is configured to look. No `index_url` means none; an empty one, pip's default."""

    index_url: str | None
    extra_index_urls: list[str]
    find_links: list[str]
    trusted_hosts: list[str]
    certificate: str | None


def _session(places: Places, index_urls: list[str]) -> PyPIClient:
    verify = ssl.create_default_context(cafile=places.certificate or None)
    session = PyPIClient(verify=verify, trusted_hosts=places.trusted_hosts)
    session.auth = MultiDomainBasicAuth(prompting=False, index_urls=index_urls)
    return session


def _index_urls(places: Places) -> list[str]:
    if places.index_url is None:
        return []
    if places.index_url:
        return [places.index_url, *places.extra_index_urls]
    # A finder that is told of no place takes the default one; that is where it is known from.
    default = [str(place["url"]) for place in PackageFinder().sources]
    return [*default, *places.extra_index_urls]


def _choose(finder: PackageFinder, name: str, version: str) -> Link | None:
    found = finder.find_matches(f"{name}=={version}", allow_yanked=True, allow_prereleases=True)
    links = [package.link for package in found]
    # Any wheel here is for other systems, or pip would have taken it: better than nothing.
    return next((link for link in links if not link.is_wheel), links[0] if links else None)


def main(name: str, version: str, folder: Path, places: Places) -> str | None:
    """Download the file, or return what is wrong."""
    index_urls = _index_urls(places)
    with _session(places, index_urls) as session:
        finder = PackageFinder(
            # Its own class does not quite match its own protocol, by names of parameters.
            cast("Fetcher", session),
            index_urls=index_urls,
            find_links=places.find_links,
            ignore_compatibility=True,
        )
        link = _choose(finder, name, version)
        if link is None:
            return f"No matching distribution found for {name}=={version}"
        try:
            file = finder.download(link, folder)
        except UnpackError as error:
            return f"Downloading {link.filename} failed: {error}"
    if file.parent != folder:
        # A file that lies on this machine is only pointed at.
        shutil.copyfile(file, folder / file.name)
    return None


if __name__ == "__main__":
    wanted_name, wanted_version, target, told = sys.argv[1:]
    decoded = msgspec.json.decode(told, type=Places)
    sys.exit(main(wanted_name, wanted_version, Path(target), decoded))
