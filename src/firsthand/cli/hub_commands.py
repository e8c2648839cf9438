"""`firsthand resources …` and `firsthand instance …`: one request to the running hub each."""

import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from firsthand.cli.answer_view import short_commit
from firsthand.cli.failures import translated
from firsthand.cli.hub_client import connect, require_hub
from firsthand.cli.running import run
from firsthand.cli.terminal import plain, size_for_people
from firsthand.hub.settings import load_settings


def call_hub(method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """Send one request to the hub of this data folder. Raises `CommandFailed`."""
    with translated():
        settings = load_settings(os.environ, Path.cwd())
    presence = require_hub(settings.data_dir)

    async def request() -> Any:
        async with connect(presence) as hub:
            return await hub.call(method, path, body)

    return run(request)


def quoted(name: str) -> str:
    """Return a resource's name as one part of a path."""
    return quote(name, safe="")


def print_json(found: Any) -> None:
    """Print what the hub said as one JSON object."""
    sys.stdout.buffer.write(msgspec.json.encode(found) + b"\n")
    sys.stdout.flush()


def print_resources(resources: list[dict[str, Any]]) -> None:
    """Print one line a resource: name, source, state, commit."""
    if not resources:
        print("No resources yet. Add one: firsthand resources add pypi:httpx")
        return
    width = max(len(str(resource["name"])) for resource in resources)
    for resource in resources:
        print(plain(_resource_line(resource, width)))


def _resource_line(resource: dict[str, Any], width: int) -> str:
    commit = resource.get("commit")
    parts = [
        f"{resource['name']:<{width}}",
        str(resource.get("source", "")),
        str(resource.get("state", "")),
        short_commit(str(commit)) if commit else "",
        str(resource.get("message") or ""),
    ]
    return "  ".join(part for part in parts if part)


def print_instance(instance: dict[str, Any]) -> None:
    """Print the state in a word, and below it what there is to say."""
    step = instance.get("step")
    print(plain(f"{instance['state']}{f': {step}' if step else ''}"))
    if message := instance.get("errorMessage"):
        print(plain(f"  {message}"))
    packages: list[dict[str, Any]] = instance.get("packages") or []
    for package in packages:
        print(plain(f"  {package.get('name')} {package.get('installed') or ''}"))
    print(f"  storage {size_for_people(int(instance.get('storageUsedBytes') or 0))}")
