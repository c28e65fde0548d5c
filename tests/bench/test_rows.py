"""From events to rows at its smallest: the same by `success worker` and by hand, and another row is found."""

from __future__ import annotations

import pytest

from bench.process import WrongStateError, commit_of
from bench.report import ROOT
from bench.rows import compare
from embedded.registry import Addresses


@pytest.mark.stack
@pytest.mark.timeout(300)
def test_the_product_and_the_reference_by_hand_write_the_same_rows(stack: Addresses) -> None:
    rows = compare.measure(stack, 200, 1, print, [ROOT])
    ways = (compare.OURS, compare.BY_HAND, f"{compare.OURS} at {commit_of(ROOT)}")
    assert [(row.log, row.way) for row in rows] == [
        (log, way) for log in (compare.NEW, compare.KNOWN) for way in ways
    ]
    for row in rows:
        assert row.rate > 0
        assert row.cpu_us("cpu_seconds") > 0


@pytest.mark.parametrize("table", [*compare.COMPARED])
def test_a_row_that_only_one_of_them_has_is_found_out(table: str) -> None:
    rows = {each: {"7d0f4c1e a", "7d0f4c1e b"} for each in compare.COMPARED}
    other = rows | {table: {"7d0f4c1e a", "7d0f4c1e c"}}
    compare.complain_of_other_rows(rows, rows, "new")
    with pytest.raises(WrongStateError, match=f"of {table} 1 rows are ours alone and 1 those"):
        compare.complain_of_other_rows(rows, other, "new")
