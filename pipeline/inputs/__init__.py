"""Files as they really are, read into checked, typed tables: genome, annotation, junctions, usage."""
