"""`firsthand serve`: reads the settings and hands over to the hub."""

import os
from functools import partial
from pathlib import Path

from firsthand.cli.failures import translated


def serve(host: str | None, port: int | None, data_dir: Path | None) -> None:
    """Run the hub until it is told to stop. Raises `CommandFailed`."""
    environ = dict(os.environ)
    if host is not None:
        environ["FIRSTHAND_HOST"] = host
    if port is not None:
        environ["FIRSTHAND_PORT"] = str(port)
    if data_dir is not None:
        environ["FIRSTHAND_DATA_DIR"] = str(data_dir.absolute())
    with translated():
        from firsthand.hub.settings import load_settings

        settings = load_settings(environ, Path.cwd())
        from firsthand.hub.app import serve as serve_hub

        # Flushed, so that the owner's link is seen at once in a log, too.
        serve_hub(settings, say=partial(print, flush=True))
