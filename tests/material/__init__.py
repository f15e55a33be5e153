"""What tests share. This file makes it a package of its own, where mkdocs-material brings another one of this name."""
