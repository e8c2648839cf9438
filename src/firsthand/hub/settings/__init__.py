"""What the operator has decided, read once at start from the environment and `firsthand.toml`."""

from firsthand.hub.settings.load import Runtime, SandboxKind, Settings, load_settings
from firsthand.hub.settings.model import ModelSettings

__all__ = ["ModelSettings", "Runtime", "SandboxKind", "Settings", "load_settings"]
