"""What the log of a hub holds, and what it must not."""

import subprocess
import sys

_DEFECT = """
import structlog
from firsthand.hub.app import log_to_stderr

def by_session(token):
    raise RuntimeError("a defect")

log_to_stderr()
try:
    by_session("fh_" + "x" * 9)
except RuntimeError as error:
    structlog.get_logger().error("defect", exc_info=error)
"""


def test_a_defect_is_logged_without_the_values_of_variables() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _DEFECT], capture_output=True, text=True, check=True
    )
    assert "RuntimeError: a defect" in done.stderr
    assert "by_session" in done.stderr
    assert "xxxxxxxxx" not in done.stderr
