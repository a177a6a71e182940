from __future__ import annotations

import csv
import io

import pytest

from shoestring.escaping import csv_cell, markdown, printable, write_csv


@pytest.mark.parametrize(
    "text, shown",
    [
        ("cat", "cat"),
        ("Käfer 🐞 中文 قط", "Käfer 🐞 中文 قط"),
        ("👩\u200d🌾", "👩\u200d🌾"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("\x9b2J", "\\x9b2J"),
        ("one\ntwo\r\tthree", "one\\ntwo\\r\\tthree"),
        ("exe.\u202egnp", "exe.\\u202egnp"),
        ("\u2066a\u2069\u200f\u2028", "\\u2066a\\u2069\\u200f\\u2028"),
        ("\udcff.png", "\\udcff.png"),
        ("a\0b\x7f", "a\\x00b\\x7f"),
    ],
)
def test_a_terminal_gets_only_printable_characters(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    "text, written",
    [
        ("vit_tiny_patch16", "vit_tiny_patch16"),
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("[x](javascript:alert(1))", "\\[x\\](javascript:alert(1))"),
        ("![](http://e.org/p.png)", "\\!\\[\\](http\\://e.org/p.png)"),
        ("www.example.org", "www\\.example.org"),
        ("a|b\nc", "a\\|b\\\\nc"),
        ("*bold* _low_ `code` ~no~ $x$ #1", "\\*bold\\* \\_low\\_ \\`code\\` \\~no\\~ \\$x\\$ \\#1"),
        ("&lt;b&gt;", "&amp;lt;b&amp;gt;"),
    ],
)
def test_markdown_shows_text_literally(text: str, written: str) -> None:
    assert markdown(text) == written


@pytest.mark.parametrize(
    "cell, written",
    [
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("+1+2", "'+1+2"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1+1", "\\t=1+1"),
        (" =1+1", "' =1+1"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("-1", "-1"),
        ("+0.5", "+0.5"),
        (-1, -1),
        (None, None),
        ("plain", "plain"),
    ],
)
def test_a_spreadsheet_sees_no_formula(cell: object, written: object) -> None:
    assert csv_cell(cell) == written


def test_a_table_has_one_line_per_row_whatever_its_cells_contain() -> None:
    out = io.StringIO(newline="")
    write_csv(out, ["id", "=class"], [["a\nb", "x,y"], ["\udcff", '"']])
    assert list(csv.reader(io.StringIO(out.getvalue()))) == [["id", "'=class"], ["a\\nb", "x,y"], ["\\udcff", '"']]
    assert out.getvalue().count("\n") == 3
    out.getvalue().encode("utf-8")
