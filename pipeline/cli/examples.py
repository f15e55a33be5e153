"""Two examples for the end of each command's help: the usual call, and one that shows what else it can do."""

from __future__ import annotations

INPUTS = "--fasta GRCh38.fa.gz --gtf gencode.gtf.gz --checkpoint SpTransformer_pytorch.ckpt"

EXAMPLES: dict[str, tuple[str, str]] = {
    "run": (
        f"sptx run {INPUTS} --genes TP53 --output tp53",
        f"sptx run --config gpu-node {INPUTS} --tags MANE_Select --output s3://bucket/mane",
    ),
    "plan": (
        f"sptx plan {INPUTS} --biotypes protein_coding",
        f"sptx plan --config gpu-cluster {INPUTS} --rate bench.json --devices 8,64",
    ),
    "status": ("sptx status tp53", "sptx status s3://bucket/mane --json"),
    "verify": ("sptx verify tp53", "sptx verify s3://bucket/mane --json"),
    "query": (
        "sptx query tp53 TP53 --columns acceptor,donor,brain",
        "sptx query tp53 chr17:7,668,402-7,687,550 --strand - --sites --to sites.csv",
    ),
    "sites": (
        "sptx sites tp53 --gtf gencode.gtf.gz",
        "sptx sites mane --gtf gencode.gtf.gz --novel --tissue brain --specific --to brain.bed",
    ),
    "plot": (
        "sptx plot tp53 TP53 --to tp53.png",
        "sptx plot tp53 TP53 --usage usage.parquet --threshold 0.5 --short-introns --to tp53.svg",
    ),
    "evaluate": (
        "sptx evaluate mane --gtf gencode.gtf.gz",
        "sptx evaluate mane --gtf gencode.gtf.gz --usage usage.parquet --to evaluation",
    ),
    "browse": (
        "sptx browse tp53 TP53",
        "sptx browse mane mane-bfloat16 TP53 --gtf gencode.gtf.gz --port 8000 --no-open",
    ),
    "diff": (
        "sptx diff tp53 tp53-finetuned",
        "sptx diff s3://bucket/mane mane --region chr17:7,661,779-7,687,550 --least 0.1 --to changed.tsv --exit-code",
    ),
    "report": (
        "sptx report tp53 --to tp53.html",
        "sptx report s3://bucket/mane --gtf gencode.gtf.gz --to s3://bucket/mane.html",
    ),
    "export": (
        "sptx export tp53 --to tp53-browser",
        "sptx export s3://bucket/mane --to s3://bucket/hub --genome hg38",
    ),
    "publish": (
        "sptx publish mane --to hf://datasets/OWNER/splicing --licence CC-BY-4.0",
        "sptx publish s3://bucket/mane --to tracks --at https://host/tracks",
    ),
    "variants": (
        f"sptx variants --vcf in.vcf.gz {INPUTS} --output scores --to out.vcf.gz",
        f"sptx variants --vcf trio.vcf.gz {INPUTS} --sample child --haplotypes --output s3://bucket/scores",
    ),
    "saturate": (
        f"sptx saturate {INPUTS} --genes SMN1 --output smn1",
        f"sptx saturate {INPUTS} --regions chr9:214,900-215,100 --deletions 1-4 --output region",
    ),
    "usage": (
        "sptx usage --junctions brain=brain.SJ.out.tab --to usage.parquet",
        "sptx usage --junctions brain=b1.SJ.out.tab,b2.SJ.out.tab --junctions liver=l1.SJ.out.tab --to usage.tsv",
    ),
    "finetune": (
        f"sptx finetune {INPUTS} --usage usage.parquet --validation chr10 --test chr9 --output training",
        "sptx finetune --config finetune.yaml --junctions brain=brain.SJ.out.tab --freeze encoders --output training",
    ),
    "simulate": ("sptx simulate genome --contigs 2", "sptx simulate gencode-sized --annotation-only"),
    "example": ("sptx example demo", "sptx example elsewhere/demo --generated"),
    "config": ("sptx config --to settings.yaml", "sptx config variants --to variants.yaml"),
    "convert": (
        "sptx convert SpTransformer_pytorch.ckpt sptransformer",
        "sptx convert multimolecule/sptransformer sptransformer",
    ),
    "bench": (
        "sptx bench --windows 4 --repeats 1",
        "sptx bench --cores 1000,2000,4000,6000 --checkpoint SpTransformer_pytorch.ckpt --fasta GRCh38.fa.gz",
    ),
}
"""Command -> its examples."""
