"""The main job: splice-site and tissue-usage tracks of a genome, as a partitioned Parquet table."""
