"""Settings: defaults that work, every value checked, and every complaint names the setting."""

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsthand.hub.errors import SettingsError
from firsthand.hub.settings import Settings, load_settings
from firsthand.hub.settings.names import ALL_NAMES
from firsthand.protocol.questions import Dialect

HOME = {"HOME": "/home/somebody"}
NOWHERE = Path("/nonexistent")


def _load(**values: str) -> Settings:
    return load_settings({**HOME, **values}, NOWHERE)


def test_with_nothing_set_everything_is_there() -> None:
    settings = _load()
    assert settings.data_dir == Path("/home/somebody/.local/share/firsthand")
    assert settings.database_url == f"sqlite:///{settings.data_dir}/firsthand.sqlite"
    assert (settings.host, settings.port) == ("127.0.0.1", 8700)
    assert settings.idle_stop == timedelta(minutes=2)
    assert settings.model.dialect is Dialect.EXTRACTIVE


def test_what_is_empty_is_unset() -> None:
    assert _load(FIRSTHAND_PORT="", OPENAI_API_KEY=" ", CLERK_JWKS_URL="") == _load()


def test_the_data_folder() -> None:
    assert _load(FIRSTHAND_DATA_DIR="~/data").data_dir == Path("/home/somebody/data")
    assert _load(FIRSTHAND_DATA_DIR="data").data_dir == NOWHERE / "data"
    assert _load(XDG_DATA_HOME="/srv").data_dir == Path("/srv/firsthand")
    assert _load(XDG_DATA_HOME="relative").data_dir == _load().data_dir
    with pytest.raises(SettingsError, match="FIRSTHAND_DATA_DIR"):
        load_settings({}, NOWHERE)


def test_values_are_read() -> None:
    settings = _load(
        DATABASE_URL="sqlite:///here.sqlite",
        FIRSTHAND_HOST="0.0.0.0",
        FIRSTHAND_PORT="0",
        FIRSTHAND_PUBLIC_URL="https://ask.example.org/",
        CLIENT_ORIGIN="https://a.example.org, http://localhost:3000/",
        FIRSTHAND_ALLOWED_PRIVATE_HOSTS="Git.Corp.example 127.0.0.1",
        FIRSTHAND_SANDBOX="Bubblewrap",
        FIRSTHAND_IDLE_STOP="1h",
    )
    assert settings.database_url == f"sqlite:///{NOWHERE}/here.sqlite"
    assert (settings.host, settings.port) == ("0.0.0.0", 0)
    assert settings.public_url == "https://ask.example.org"
    assert settings.client_origins == {"https://a.example.org", "http://localhost:3000"}
    assert settings.allowed_private_hosts == {"git.corp.example", "127.0.0.1"}
    assert settings.idle_stop == timedelta(hours=1)


@pytest.mark.requirement("HUB-14")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FIRSTHAND_PORT", "70000"),
        ("FIRSTHAND_PORT", "٨٧٠٠"),
        ("FIRSTHAND_PORT", "-1"),
        ("FIRSTHAND_HOST", "host:8700"),
        ("FIRSTHAND_HOST", "http://host"),
        ("FIRSTHAND_PUBLIC_URL", "ask.example.org"),
        ("FIRSTHAND_PUBLIC_URL", "https://user:word@example.org"),
        ("FIRSTHAND_PUBLIC_URL", "https://[::1"),
        ("FIRSTHAND_PUBLIC_URL", "https://example.org:99999"),
        ("CLIENT_ORIGIN", "https://example.org/app"),
        ("CLIENT_ORIGIN", "*"),
        ("FIRSTHAND_ALLOWED_PRIVATE_HOSTS", "https://git.corp"),
        ("FIRSTHAND_ALLOWED_PRIVATE_HOSTS", "*.corp"),
        ("FIRSTHAND_SANDBOX", "chroot"),
        ("FIRSTHAND_SANDBOX", "docker"),
        ("FIRSTHAND_SANDBOX", "daytona"),
        ("FIRSTHAND_SANDBOX", "kubernetes"),
        ("FIRSTHAND_RUNTIME", "btca"),
        ("FIRSTHAND_RUNTIME", "opencode"),
        ("FIRSTHAND_IDLE_STOP", "0"),
        ("FIRSTHAND_IDLE_STOP", "soon"),
        ("FIRSTHAND_IDLE_STOP", "9999d"),
        ("FIRSTHAND_DATA_DIR", "/data?x"),
        ("DATABASE_URL", "postgresql://host/db"),
        ("DATABASE_URL", "postgres://host/db"),
        ("DATABASE_URL", "mysql://host/db"),
        ("DATABASE_URL", "sqlite://"),
        ("FIRSTHAND_MODEL_API_KEY", "abc"),
        ("FIRSTHAND_MODEL_BASE_URL", "https://models.example.org/v1"),
        ("FIRSTHAND_MODEL_BASE_URL", "models"),
        ("FIRSTHAND_MODEL_DIALECT", "openai"),
        ("OPENAI_API_KEY", "two words"),
        ("OPENAI_API_KEY", "schlüssel"),
        ("ANTHROPIC_API_KEY", "line\nbreak"),
        ("OLLAMA_HOST", "http://user@host"),
        ("CLERK_JWKS_URL", "https://clerk.example.org"),
        ("OIDC_CLIENT_SECRET", "x"),
        ("DAYTONA_API_KEY", "x"),
        ("AUTUMN_SECRET_KEY", "x"),
    ],
)
def test_a_wrong_half_set_or_unsupported_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name) as caught:
        _load(**{name: value})
    assert "\n" not in caught.value.detail


@pytest.mark.requirement("HUB-14")
def test_what_does_not_exist_yet_says_what_does() -> None:
    with pytest.raises(SettingsError, match="bubblewrap only"):
        _load(FIRSTHAND_SANDBOX="docker")
    with pytest.raises(SettingsError, match="SQLite only"):
        _load(DATABASE_URL="postgresql://host/db")
    with pytest.raises(SettingsError, match="CLERK_JWKS_URL, CLERK_WEBHOOK_SECRET"):
        _load(CLERK_JWKS_URL="https://x", CLERK_WEBHOOK_SECRET="y")


@pytest.mark.requirement("HUB-14")
def test_a_misspelt_name_is_found() -> None:
    with pytest.raises(SettingsError, match="FIRSTHAND_PROT") as caught:
        _load(FIRSTHAND_PROT="1")
    assert caught.value.hint == "Did you mean FIRSTHAND_PORT?"
    assert _load(FIRSTHAND_SCRIPT_OWN_NAME="1") == _load()


def test_the_file_speaks_where_the_environment_is_silent(tmp_path: Path) -> None:
    (tmp_path / "firsthand.toml").write_text(
        'FIRSTHAND_PORT = 9000\nFIRSTHAND_HOST = "::1"\n'
        'FIRSTHAND_ALLOWED_PRIVATE_HOSTS = ["a.corp", "b.corp"]\n'
    )
    settings = load_settings({**HOME, "FIRSTHAND_PORT": "9001"}, tmp_path)
    assert (settings.host, settings.port) == ("::1", 9001)
    assert settings.allowed_private_hosts == {"a.corp", "b.corp"}


@pytest.mark.requirement("HUB-14")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("FIRSTHAND_PORT = ", "firsthand.toml is not valid TOML"),
        ("FIRSTHAND_PORTS = 1", "FIRSTHAND_PORTS in .*firsthand.toml is not a setting"),
        ("port = 1", "port in .*firsthand.toml is not a setting"),
        ("FIRSTHAND_PORT = true", "FIRSTHAND_PORT in .*firsthand.toml must be"),
        ("[FIRSTHAND_PORT]", "FIRSTHAND_PORT in .*firsthand.toml must be"),
    ],
)
def test_a_mistake_in_the_file_is_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "firsthand.toml").write_text(content)
    with pytest.raises(SettingsError, match=message):
        load_settings(HOME, tmp_path)


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "firsthand.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match=r"firsthand\.toml cannot be read"):
        load_settings(HOME, tmp_path)


@given(name=st.sampled_from(sorted(ALL_NAMES)), value=st.text(max_size=40))
def test_any_value_is_read_or_refused_by_name(name: str, value: str) -> None:
    complaint = ""
    try:
        settings = _load(**{name: value})
    except SettingsError as error:
        complaint = error.detail
    else:
        assert settings.data_dir.is_absolute()
        assert 0 <= settings.port <= 65535
    assert not complaint or name in complaint
