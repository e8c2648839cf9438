import pytest

from firsthand.sources.index.symbols import extract_symbols

PYTHON = '''\
"""Module."""
LIMIT = 3


@decorate
class Session(Base):
    """Holds a connection."""

    timeout: int = 5

    def send(self, request, **options):
        """Send one request."""
        def inner():
            return 1
        return inner()


async def get(url): ...
'''


def test_python_definitions_have_scope_lines_signature_and_docstring() -> None:
    found = {s.qualified_name: s for s in extract_symbols("a/b.py", PYTHON)}

    assert list(found) == [
        "LIMIT",
        "Session",
        "Session.timeout",
        "Session.send",
        "Session.send.inner",
        "get",
    ]
    session = found["Session"]
    assert (session.kind, session.start_line, session.end_line) == ("class", 5, 15)
    assert session.docstring == "Holds a connection."
    send = found["Session.send"]
    assert send.kind == "method"
    assert send.signature == "def send(self, request, **options):"
    assert send.docstring == "Send one request."
    assert found["get"].signature == "async def get(url):"


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("a.js", "// Adds.\nfunction add(a, b) { return a }\nconst f = () => 1\n", ["add", "f"]),
        ("a.ts", "export interface Shape { area(): number }\n", ["Shape", "Shape.area"]),
        ("a.tsx", "export const App = () => <div/>\n", ["App"]),
        ("a.go", "package a\n\nfunc (s *Server) Run() {}\ntype Server struct{}\n", None),
        ("a.rs", "struct P;\nimpl P { fn new() -> P { P } }\n", ["P", "P", "P.new"]),
        ("A.java", "class A { A() {} void run() {} }\n", ["A", "A.A", "A.run"]),
        ("a.c", "#define N 1\nint *find(int x) { return 0; }\n", ["N", "find"]),
        ("a.hpp", "namespace n { class C { void f() {} }; }\n", ["n", "n.C", "n.C.f"]),
        ("a.rb", "module M\n  class C\n    def run; end\n  end\nend\n", ["M", "M.C", "M.C.run"]),
        ("a.cs", "class C { int P { get; } void M() {} }\n", ["C", "C.P", "C.M"]),
        ("a.php", "<?php\nclass C { function m() {} }\n", ["C", "C.m"]),
        ("a.sh", "greet() { echo hi; }\n", ["greet"]),
        ("a.kt", "class C { fun m() {} }\n", ["C", "C.m"]),
        ("a.scala", "object O { def m = 1 }\n", ["O", "O.m"]),
        ("a.swift", "class C { func m() {} }\n", ["C", "C.m"]),
        ("a.lua", "function greet() end\n", ["greet"]),
        ("a.unknown", "function greet() end\n", []),
    ],
)
def test_every_language_gives_its_definitions(
    path: str, text: str, expected: list[str] | None
) -> None:
    found = [s.qualified_name for s in extract_symbols(path, text)]

    assert found == (expected if expected is not None else ["Run", "Server"])


def test_a_comment_above_a_definition_is_its_docstring() -> None:
    text = "package a\n\n// Run serves requests\n// until it is told to stop.\nfunc Run() {}\n"

    assert extract_symbols("a.go", text)[0].docstring == (
        "Run serves requests\nuntil it is told to stop."
    )


def test_broken_code_still_gives_what_can_be_read() -> None:
    found = extract_symbols("a.py", "def ok(): pass\n\ndef broken(((:\n  ]]\n\x00\ufffd")

    assert found[0].name == "ok"
