from hypothesis import given
from hypothesis import strategies as st

from firsthand.sources.index.passages import LONGEST, cut
from firsthand.sources.index.symbols import extract_symbols


@given(st.lists(st.sampled_from(["x = 1", "def f():", "    return 1", "", "class C:"])))
def test_passages_cover_every_line_once_and_stay_short(lines: list[str]) -> None:
    text = "\n".join(lines)
    passages = cut(text, extract_symbols("a.py", text))

    seen = [n for p in passages for n in range(p.start_line, p.end_line + 1)]
    assert seen == sorted(set(seen))
    assert all(p.end_line - p.start_line < LONGEST for p in passages)
    written = {n for n, line in enumerate(text.split("\n"), 1) if line.strip()}
    assert written <= set(seen)


def test_a_passage_begins_where_a_definition_begins() -> None:
    functions = [f"def f{n}():\n" + "    x = 1\n" * 24 for n in range(4)]
    text = "\n".join(functions)

    passages = cut(text, extract_symbols("a.py", text))

    assert [p.symbol for p in passages] == ["f0", "f2"]
    assert passages[1].start_line == 53
