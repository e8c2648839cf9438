"""`firsthand doctor`: looks at everything Firsthand relies on, by trying it, and says how to mend.

The looks themselves lie in `examinations.py`; here they are run and shown.
"""

import os
import sys
from pathlib import Path

import msgspec

from firsthand.cli.examinations import Finding, examine_all
from firsthand.cli.failures import CommandFailed
from firsthand.cli.running import run
from firsthand.cli.terminal import ProgressLine, plain


def examine(*, as_json: bool, data_dir: Path | None) -> None:
    """Print every finding. Raises `CommandFailed` where something needed is missing."""
    environ = dict(os.environ)
    if data_dir is not None:
        environ["FIRSTHAND_DATA_DIR"] = str(data_dir.absolute())
    line = ProgressLine()
    line.show("Looking at this machine")
    findings = run(lambda: examine_all(environ, Path.cwd()))
    line.clear()
    missing = [finding for finding in findings if finding.needed and not finding.ok]
    if as_json:
        found = {"ok": not missing, "findings": findings}
        sys.stdout.buffer.write(msgspec.json.encode(found) + b"\n")
        sys.stdout.flush()
    else:
        _print(findings)
    if missing:
        names = ", ".join(finding.name for finding in missing)
        raise CommandFailed(f"Not ready: {names}.", reported=as_json)


def _print(findings: list[Finding]) -> None:
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        mark = "✓" if finding.ok else ("✗" if finding.needed else "·")
        print(plain(f"{mark} {finding.name:<{width}}  {finding.found}"))
        if finding.mend:
            print(plain(f"  {'':<{width}}  → {finding.mend}"))
