"""The variants job: what a change of sequence does to splicing, for each allele and gene."""
