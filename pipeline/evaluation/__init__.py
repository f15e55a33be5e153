"""Compare a table with an annotation and with measured usage: `sptx evaluate` (docs/evaluate.md)."""
