"""`sptx`, the command line: one module a group of commands."""

from pipeline.cli.app import main

__all__ = ["main"]
