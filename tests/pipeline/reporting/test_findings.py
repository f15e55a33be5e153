"""What the findings count of themselves."""

from __future__ import annotations

from pipeline.reporting.findings import Findings


def test_sites_are_counted_by_what_they_are(found: Findings) -> None:
    flags = [None, True, False]
    for kind in (None, "acceptor", "donor"):
        for called in flags:
            for annotated in flags:
                rows = found.sites.rows(named=True)
                asked = {"kind": kind, "called": called, "annotated": annotated}
                fits = (row for row in rows if all(value in (None, row[name]) for name, value in asked.items()))
                assert found.count(**asked) == sum(row["sites"] for row in fits)
    assert not found.count(called=False, annotated=False)
    assert found.rows == found.coverage["computed"].sum()
