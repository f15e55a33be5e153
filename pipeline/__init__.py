"""The work around the network: annotation and genome in, partitioned Parquet tracks out, on Ray Data."""
