"""A generated genome with a known answer: `sptx simulate` (docs/simulate.md). SYNTHETIC."""
