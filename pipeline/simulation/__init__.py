"""Generated genomes with a known answer, for `sptx simulate` and `sptx example` (docs/simulate.md). SYNTHETIC."""
