"""What people type or follow, brought into the form that use cases take."""

from urllib.parse import urlsplit


def own_page(wanted: str) -> str:
    """Return the page if it is one of ours, else the first one; never an address elsewhere."""
    parts = urlsplit(wanted)
    ours = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and wanted.isprintable()
    return wanted if ours and not parts.netloc and not parts.scheme else "/"


def spelled_out(source: str) -> str:
    """Turn `owner/name` into its address on GitHub, where most people's sources are."""
    head, at, ref = source.partition("@")
    parts = head.split("/")
    is_short = len(parts) == 2 and all(parts) and ":" not in head
    if is_short and not head.startswith((".", "~", "/")):
        return f"https://github.com/{head}{at}{ref}"
    return source
