"""SpTransformer in PyTorch: the network, its checkpoints, its windows and its engine. No Ray and no genome files."""
