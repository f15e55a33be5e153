"""A table held against an annotation and measured usage: `sptx evaluate` (docs/evaluate.md)."""
