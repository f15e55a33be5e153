"""Real human genes with a trained network, for `sptx example`: files that come with sptx, and their sources."""
