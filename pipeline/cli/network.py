"""Commands about the network alone: `convert` checkpoints, `bench` the engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.console import say
from sptx_core.config import SpTransformerConfig
from sptx_core.errors import InputError
from sptx_core.files import require_writable
from sptx_core.windows import TRAINED_CORE, WindowSpec
from sptx_core.words import counted

if TYPE_CHECKING:
    from sptx_core.model import SpTransformerModel

if TYPE_CHECKING:
    from sptx_core.alphabet import Codes

CORES = "Cores"  # a panel of the help
MIN_CORE_BASES = 10_000  # that are compared where no region says which


def convert(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="SpTransformer's .ckpt, a safetensors file or folder, or a hub id; or files of SpliceAI (.h5), "
            "CI-SpliceAI (.pb) or OpenSpliceAI (.pt), or folders or wheels with them. Several networks become an "
            "ensemble.",
        ),
    ],
    target: Annotated[Path, typer.Argument(help="Folder to write model.safetensors and config.json to.")],
    usage: Annotated[
        list[str] | None,
        typer.Option(
            help="Pangolin's networks, which add usage by tissue to the networks of splice sites: their folder, files "
            "final.FOLD.OUTPUT.3.v2 (give the flag once for each), or the hub id of MultiMolecule's port."
        ),
    ] = None,
) -> None:
    """Convert a checkpoint, or published networks of SpliceAI's family, to a folder with safetensors and config.json.

    Which files of SpliceAI, CI-SpliceAI, OpenSpliceAI and Pangolin it reads: docs/networks.md.
    """
    from sptx_core.checkpoint.family.convert import is_of_family, read_family
    from sptx_core.model import SpTransformerModel

    if target.exists() and not target.is_dir():
        raise InputError(f"{target} is a file: the last argument is the folder to write to")
    if len(sources) == 1 and not usage and not is_of_family(sources[0]):
        model = SpTransformerModel.from_pretrained(sources[0])
    else:
        checkpoint, notes = read_family(sources, usage or ())
        for note in notes:
            say(note)
        model = SpTransformerModel.from_checkpoint(checkpoint)
    model.save_pretrained(target)
    sizes = model.sizes
    say(
        f"{', '.join(sources)}: {sum(p.numel() for p in model.parameters()):,} parameters written to {target}"
        + (f" ({counted(sizes.members, 'member')}, context {sizes.context:,})" if not sizes.layers else "")
    )


def bench(
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    paths: Annotated[
        str, typer.Option(help="Engine paths to measure, separated by commas (docs/performance.md describes them).")
    ] = "reference,auto",
    precisions: Annotated[str, typer.Option(help="Precisions, separated by commas.")] = "float32,bfloat16",
    batch: Annotated[
        int | None,
        typer.Option(help="Windows computed at once, by every path but the reference (default: the fastest number)."),
    ] = None,
    windows: Annotated[
        int, typer.Option(help="Consecutive windows in each turn; with --variants, alleles of each kind of work.")
    ] = 8,
    repeats: Annotated[int, typer.Option(help="Number of turns.")] = 3,
    save: Annotated[
        Path | None, typer.Option(help="JSON file to write the report to, for `plan --rate`.", show_default=False)
    ] = None,
    compare: Annotated[
        Path | None,
        typer.Option(
            help="Report of an earlier --save whose ratios are shown beside the new ones.", show_default=False
        ),
    ] = None,
    variants: Annotated[bool, typer.Option("--variants", help="Measure the scoring of variants instead.")] = False,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            help="Network to measure (default: one of SpTransformer's size with random weights).", show_default=False
        ),
    ] = None,
    core: Annotated[int, typer.Option(help="Predicted bases of a window; not with --variants.")] = TRAINED_CORE,
    cores: Annotated[
        str | None,
        typer.Option(
            help="Compare these sizes of the core, separated by commas: their cost, and how scores differ from the "
            "smallest.",
            rich_help_panel=CORES,
            show_default=False,
        ),
    ] = None,
    fasta: Annotated[
        str | None,
        typer.Option(
            help="Genome on which the scores of --checkpoint are compared.", rich_help_panel=CORES, show_default=False
        ),
    ] = None,
    region: Annotated[
        str | None,
        typer.Option(
            help="Region to compare scores on, both strands (default: the middle of the first contig).",
            rich_help_panel=CORES,
            show_default=False,
        ),
    ] = None,
) -> None:
    """Measure how fast the engine is on this machine, compared with the plain network; needs no files.

    --cores compares sizes of the core, the predicted bases of a window, in cost and, with --checkpoint and --fasta, in
    scores (docs/performance.md).
    """
    from pipeline.inputs.network import load_network
    from sptx_core.engine.bench import BenchReport, format_report, pairs, run_bench

    if cores is not None:
        if core != TRAINED_CORE or variants or compare:
            raise InputError("--cores measures by itself: leave --core, --variants and --compare out")
        _bench_cores(cores, checkpoint, fasta, region, device, paths, precisions, batch, windows, repeats, save)
        return
    if given := [name for name, value in (("fasta", fasta), ("region", region)) if value]:
        raise InputError(f"--{given[0]} is an option of --cores")
    model = None if checkpoint is None else load_network(checkpoint).model
    if variants:
        if core != TRAINED_CORE:
            raise InputError("--variants has cores of its own: leave --core out.")
        _bench_variants(device, paths, precisions, batch, windows, repeats, save, compare, model)
        return
    earlier = BenchReport.load(compare) if compare else None
    if save:
        require_writable(save)
    runs = pairs(paths.split(","), precisions.split(","))
    spec = WindowSpec(core, SpTransformerConfig.context if model is None else model.sizes.context)
    report = run_bench(runs=runs, device=device, batch=batch, windows=windows, repeats=repeats, model=model, spec=spec)
    if save:
        report.save(save)
    typer.echo(format_report(report, earlier))


def _bench_variants(
    device: str,
    paths: str,
    precisions: str,
    batch: int | None,
    alleles: int,
    repeats: int,
    save: Path | None,
    compare: Path | None,
    model: SpTransformerModel | None,
) -> None:
    """`sptx bench --variants`: one path beside the plain network."""
    from sptx_core.engine.variant_bench import format_variants, run_variant_bench

    path = _only_path(paths, "--variants measures one engine path beside the plain network")
    if compare:
        raise InputError("--compare has no reports of --variants yet: leave it out.")
    if save:
        require_writable(save)
    report = run_variant_bench(
        precisions=precisions.split(","),
        path=path,
        device=device,
        batch=batch,
        alleles=alleles,
        repeats=repeats,
        model=model,
    )
    if save:
        report.save(save)
    typer.echo(format_variants(report))


def _bench_cores(
    cores: str,
    checkpoint: str | None,
    fasta: str | None,
    region: str | None,
    device: str,
    paths: str,
    precisions: str,
    batch: int | None,
    windows: int,
    repeats: int,
    save: Path | None,
) -> None:
    """`sptx bench --cores`: one path."""
    from pipeline.inputs.network import load_network
    from sptx_core.engine.bench import seeded_model
    from sptx_core.engine.core_bench import format_cores, margin_of, run_core_bench

    path = _only_path(paths, "--cores measures one engine path")
    try:
        sizes = [int(core) for core in cores.split(",")]
    except ValueError:
        raise InputError(f"--cores {cores}: give whole numbers, separated by commas") from None
    if fasta is not None and checkpoint is None:
        raise InputError("--fasta without --checkpoint shows nothing: scores of random weights mean nothing")
    if region is not None and fasta is None:
        raise InputError("--region is a part of --fasta: name the genome too")
    if save:
        require_writable(save)
    model = load_network(checkpoint).model if checkpoint else seeded_model(SpTransformerConfig(), 0)
    bases = max(windows * max(sizes), MIN_CORE_BASES)
    stretches = _stretches(fasta, region, margin_of(model.sizes.context, sizes), bases)
    report = run_core_bench(
        *(model, stretches, sizes),
        trained=fasta is not None,
        precisions=precisions.split(","),
        path=path,
        device=device,
        batch=batch,
        repeats=repeats,
    )
    if save:
        report.save(save)
    typer.echo(format_cores(report))


def _stretches(fasta: str | None, region: str | None, margin: int, bases: int) -> list[Codes]:
    """Both strands of a region with `margin` bases around it, or of the middle of the first contig; else at random."""
    import numpy as np

    from pipeline.coordinates import parse_region, reconcile_contigs
    from pipeline.inputs.genome import Genome
    from sptx_core.alphabet import reverse_complement

    if fasta is None:
        return [np.random.default_rng(0).integers(0, 4, bases + 2 * margin, dtype=np.uint8)]
    genome = Genome(fasta)
    if region is None:
        contig, length = next(iter(genome.lengths.items()))
        start = max(0, (length - bases) // 2)
        end = min(length, start + bases)
    else:
        wanted = parse_region(region, genome.lengths)
        named = reconcile_contigs([wanted.contig], genome.lengths).mapping.get(wanted.contig)
        if named is None or wanted.start >= genome.lengths[named]:
            raise InputError(f"--region {region}: {fasta} has no such bases")
        contig, start = named, wanted.start
        end = min(wanted.end or genome.lengths[contig], genome.lengths[contig])
    codes = genome.fetch(contig, start - margin, end + margin)
    return [codes, reverse_complement(codes)]


def _only_path(paths: str, rule: str) -> str:
    """The one engine path of a list, besides the plain network."""
    others = [path for path in paths.split(",") if path != "reference"]
    if len(others) != 1:
        raise InputError(f"{rule}, not {paths!r}: name one.")
    return others[0]
