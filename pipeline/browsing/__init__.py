"""A table as a page: views of it, the server that answers the page, and the page itself (`static/`)."""
