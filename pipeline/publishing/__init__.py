"""A finished table as others find it: copied whole, with a dataset card, checksums and Croissant metadata."""
