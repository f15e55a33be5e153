"""Train a network on an annotation and on measured usage: `sptx finetune` (docs/finetune.md)."""
