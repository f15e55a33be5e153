"""The work around the network: annotation and genome in, partitioned Parquet tracks out, on Ray Data."""

from pipeline.tracks.reader import Tracks, open_tracks

__all__ = ["Tracks", "open_tracks"]
