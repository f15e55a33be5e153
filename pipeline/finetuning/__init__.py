"""Training a network on an annotation and measured usage: `sptx finetune` (docs/finetune.md)."""
