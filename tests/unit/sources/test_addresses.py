"""Which network addresses may be asked."""

import pytest

from firsthand.sources.errors import AddressRefused, InvalidSource
from firsthand.sources.git_url import PinnedUrl, check_url

pytestmark = pytest.mark.requirement("SRC-6", "SRC-7")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0",
        "100.64.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "[::1]", "[fe80::1]",
        "[fd00::1]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "localhost",
        "2130706433", "127.1", "0x7f.1", "[::7f00:1]", "[fec0::1]", "[64:ff9b:1::7f00:1]",
    ],
)  # fmt: skip
async def test_private_addresses_are_refused_in_every_spelling(host: str) -> None:
    with pytest.raises(AddressRefused):
        await check_url(f"https://{host}/a/b", frozenset())


@pytest.mark.parametrize(
    "host",
    ["m\u00fcnchen.example", "stra\u00dfe.example", "\uff11.1.1.1", "%31.1.1.1", "[fe80::1%eth0]"],
)
async def test_a_host_that_curl_could_read_in_another_way_is_refused(host: str) -> None:
    with pytest.raises(InvalidSource, match="letters a to z"):
        await check_url(f"https://{host}/a/b", frozenset({host}))


async def test_public_addresses_are_pinned() -> None:
    pinned = await check_url("https://1.1.1.1/a/b", frozenset())
    assert pinned == PinnedUrl("https://1.1.1.1/a/b", "1.1.1.1", 443, ("1.1.1.1",))
    assert pinned.curl_resolve == "1.1.1.1:443:1.1.1.1"
    # curl takes no entry for such a host, and needs none.
    assert (await check_url("https://[2606:4700::1111]/a/b", frozenset())).curl_resolve == ""


@pytest.mark.parametrize("url", ["http://1.1.1.1/a", "https://1.1.1.1:8443/a"])
async def test_other_ports_and_plain_http_need_to_be_allowed(url: str) -> None:
    with pytest.raises(AddressRefused):
        await check_url(url, frozenset())
    assert (await check_url(url, frozenset({"1.1.1.1"}))).url == url


async def test_a_host_is_allowed_by_name_or_by_name_and_port() -> None:
    for entry in ("localhost", "LOCALHOST:8000"):
        pinned = await check_url("http://localhost:8000/a", frozenset({entry}))
        assert pinned.port == 8000
    with pytest.raises(AddressRefused):
        await check_url("http://localhost:8000/a", frozenset({"localhost:8001"}))
    with pytest.raises(InvalidSource):
        await check_url("ftp://localhost/a", frozenset({"localhost"}))
