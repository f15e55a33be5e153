// The tracks of a genome, checked, and rows of genes or regions:
//
//     nextflow run workflows/nextflow/main.nf -params-file mine.yaml
//
// `sptx run` goes on where it was: after a failure, a kill or a time limit, by a retry or by the same command again.

include { SPTX_RUN; SPTX_VERIFY; SPTX_QUERY } from './modules/sptx'

workflow {
    def required = ['fasta', 'gtf', 'checkpoint', 'table'].findAll { name -> !params[name] }
    if (required) {
        error("set ${required.join(', ')}: by flags as --fasta genome.fa.gz, or in a -params-file")
    }
    SPTX_RUN(located(params.fasta), located(params.gtf), located(params.checkpoint), located(params.table))
    SPTX_VERIFY(SPTX_RUN.out.table)
    SPTX_QUERY(SPTX_RUN.out.table, channel.fromList(params.queries.collect { name, what -> [name, what] }))
}

// A path relative to where Nextflow was started, made absolute for the tasks; URIs, and hub ids, stay as they are.
def located(String name) {
    if (name.contains('://') || name.startsWith('/')) {
        return name
    }
    def here = file(name)
    return here.exists() || !name.matches('[\\w.-]+/[\\w.-]+(@.+)?') ? here.toString() : name
}
