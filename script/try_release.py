"""Tries an installed wheel: every web asset is there, and a hub starts and answers.

Run by script/release with the Python of a fresh environment, in an empty folder.
"""

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from importlib.resources import files
from pathlib import Path

_SECONDS = 60.0


def missing_assets() -> list[str]:
    """Return the files of `assets.toml` that the wheel does not carry."""
    web = files("firsthand.hub.web")
    listed = tomllib.loads(web.joinpath("assets.toml").read_text())["package"]
    names = [name for package in listed for name in package["files"].values()]
    return [n for n in names if not web.joinpath("static", "vendor", *n.split("/")).is_file()]


def wait_for_hub(data_dir: Path, hub: subprocess.Popen[bytes]) -> dict[str, object]:
    """Return what `/healthz` says once the hub answers. Raises `TimeoutError`."""
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline and hub.poll() is None:
        try:
            url = json.loads((data_dir / "hub.json").read_text())["url"]
            with urllib.request.urlopen(f"{url}/healthz", timeout=5) as answer:  # noqa: S310 - ours
                return json.loads(answer.read())
        except (OSError, urllib.error.URLError, json.JSONDecodeError):
            time.sleep(0.1)
    raise TimeoutError("the hub of the wheel did not answer")


def main() -> None:
    """Exit with a message where something is wrong."""
    if missing := missing_assets():
        sys.exit(f"the wheel lacks {len(missing)} web assets, first {missing[0]}")
    data_dir = Path(sys.argv[1]) / "data"
    firsthand = Path(sys.executable).with_name("firsthand")
    environ = {**os.environ, "FIRSTHAND_DATA_DIR": str(data_dir), "FIRSTHAND_PORT": "0"}
    hub = subprocess.Popen([firsthand, "serve"], env=environ, stdout=subprocess.DEVNULL)
    try:
        print(f"the wheel works: {wait_for_hub(data_dir, hub)}")
    finally:
        hub.send_signal(signal.SIGTERM)
        hub.wait(30)


if __name__ == "__main__":
    main()
