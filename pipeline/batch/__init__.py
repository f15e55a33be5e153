"""The workbench: units of work, computed by actors on Ray Data, each committed once, resumed after any fault."""
