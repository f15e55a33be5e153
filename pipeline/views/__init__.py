"""What people look at: plots of a table."""
