import pytest

from firsthand.sources.index.analysis import terms_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("get_environ_proxies", ["get", "environ", "proxi"]),
        ("getEnvironProxies", ["get", "environ", "proxi"]),
        ("HTTPServer URLs", ["http", "server", "url", "s"]),
        ("redirects redirecting", ["redirect", "redirect"]),
        ("sha256 Café 検索", ["sha", "256", "cafe", "検", "索"]),
        ("?!", []),
    ],
)
def test_words_are_split_on_case_and_underscore_and_stemmed(text: str, expected: list[str]) -> None:
    assert terms_of(text) == expected
