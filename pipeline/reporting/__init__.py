"""The report of a table: what it holds and how it was made, as one page of HTML."""
