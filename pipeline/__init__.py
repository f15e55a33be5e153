"""The work around the network: annotation and genome in, partitioned Parquet tracks out, on Ray Data.

The names below are loaded when they are first used (`__init__.pyi` says from where), so that importing this package
loads neither Ray nor PyTorch.

With the files of `sptx example demo --generated`:

    >>> from pipeline import RunConfig, open_tracks, plan, run
    >>> inputs = {"fasta": "demo/genome.fa.gz", "gtf": "demo/annotation.gtf.gz", "checkpoint": "demo/checkpoint"}
    >>> settings = RunConfig(**inputs, genes=("SYN1-40",), output="demo/tracks")
    >>> print(plan(settings))  # doctest: +ELLIPSIS
    contigs: 1 by the same name
    6 transcripts, 1 locus, 4,605 bases, 5 windows, 1 shard
    ...
    >>> run(settings, progress=False).complete  # doctest: +ELLIPSIS
    contigs: ...
    True
    >>> gene = open_tracks("demo/tracks").gene("SYN1-40")  # a Polars frame: a row for each base
    >>> gene.columns[:7]
    ['chrom', 'strand', 'pos', 'ref', 'acceptor', 'donor', 'no_splice']

    >>> from pipeline import evaluate, gene_view, read_annotation, read_usage
    >>> tracks, annotation = open_tracks("demo/tracks"), read_annotation("demo/annotation.gtf.gz")
    >>> found = evaluate(tracks, annotation, read_usage("demo/usage.parquet"), say=lambda _: None)
    >>> found.of("donor").sites  # of the gene in the table
    6
    >>> view = gene_view(tracks, "SYN1-40", annotation=annotation)
    >>> view.strand, len(view.called)  # its splice sites at or above 0.1
    ('-', 12)
"""

import lazy_loader

from sptx_core.version import __version__

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]
