"""The export: a table of tracks as files for genome browsers (bigWig, bigBed, a track hub, an IGV session)."""
