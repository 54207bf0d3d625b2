import math

import pytest
from markdown_it import MarkdownIt

from altgrad.reporting.text import (
    at_least,
    counted,
    difference,
    escape_markdown,
    grid,
    interval,
    learning_rate,
    linked,
    listed,
    p_value,
    plain,
    rate,
    rate_interval,
    share,
    word,
)


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (difference(0.01234), "+0.0123"),
        (difference(-0.5), "-0.5000"),
        (difference(math.nan), "n/a"),
        (interval(-0.1, 0.25), "[-0.1000, +0.2500]"),
        (interval(math.nan, math.nan), "n/a"),
        (interval(-math.inf, math.inf), "unbounded"),
        (share(0.123, -0.05, 1.5), "12 % [-5, 150]"),
        (share(math.nan, math.nan, math.nan), "n/a"),
        (rate_interval(0.0, 0.2646), "[0 %, 26 %]"),
        (at_least(0.016, censored=True), "≥ 0.016"),
        (at_least(0.016, censored=False), "0.016"),
        (p_value(0.00001), "<0.0001"),
        (p_value(0.03125), "0.0312"),
        (rate(0.9731), "97.3 %"),
        (rate(0.0), "0 %"),
        (rate(0.000123), "0.0123 %"),
        (plain(3.14159), "3.142"),
        (learning_rate(0.003), "0.003"),
        (learning_rate(0.003, at_edge=True), "0.003*"),
        (learning_rate(math.nan), "n/a"),
    ],
)
def test_numbers_as_text(cell: object, text: str) -> None:
    assert cell.text == text  # type: ignore[attr-defined]


def test_a_cell_that_leads_somewhere_prints_and_sorts_as_before() -> None:
    cell = linked(difference(0.5), "evidence#a")
    assert (cell.text, cell.order, cell.target) == ("+0.5000", 0.5, "evidence#a")
    assert difference(0.5).target == ""


def test_missing_numbers_sort_last() -> None:
    assert sorted([difference(math.nan), difference(2.0), difference(-1.0)], key=lambda c: c.order)[-1].text == "n/a"


def test_lists_and_counts() -> None:
    assert [listed(w) for w in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
    assert [counted(n, "seed") for n in (0, 1, 2)] == ["no seed", "1 seed", "2 seeds"]


@pytest.mark.parametrize(
    "text",
    ["plain", "a|b", "*bold* _it_ `code`", "[link](x) ![i](y)", "<b>&amp;</b>", "# ~~x~~", "back\\slash", "{{ 7 }}"],
)
def test_escaped_text_is_printed_as_it_stands(text: str) -> None:
    rendered = MarkdownIt("gfm-like", {"linkify": False}).render(f"| a |\n| --- |\n| {escape_markdown(text)} |\n")
    import html
    import re

    cells = re.findall(r"<td>(.*?)</td>", rendered)
    assert [html.unescape(cell) for cell in cells] == [text]


def test_escaped_text_stays_on_one_line() -> None:
    assert escape_markdown("a\n\n# b") == "a \\# b"


def test_a_row_must_fit_its_headings() -> None:
    with pytest.raises(AssertionError, match="does not fit"):
        grid(("a", "b"), [[word("x")]], "none")


def test_a_column_of_numbers_is_known() -> None:
    table = grid(("name", "value"), [[word("x"), difference(1.0)], [word("y"), difference(math.nan)]], "none")
    assert [table.numeric(i) for i in range(2)] == [False, True]
