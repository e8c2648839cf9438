"""The same ground as the features stand on."""

from tests.feature.hub.conftest import ground, prepared

__all__ = ["ground", "prepared"]
