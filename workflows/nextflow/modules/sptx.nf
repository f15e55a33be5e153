// sptx as processes. Inputs and the table are paths or URIs that sptx itself reads and writes, so they are values and
// not staged files: a task folder is new at each attempt, and a table goes on where it was.

process SPTX_RUN {
    tag "${table}"
    errorStrategy { task.exitStatus == 2 ? 'terminate' : 'retry' }
    maxRetries 3

    input:
    val fasta
    val gtf
    val checkpoint
    val table

    output:
    val table, emit: table
    path 'run.json', emit: report

    script:
    def flags = task.ext.args ?: ''
    def workers = task.ext.workers ?: 1
    def threads = Math.max(1, task.cpus.intdiv(workers))
    """
    sptx run --fasta '${fasta}' --gtf '${gtf}' --checkpoint '${checkpoint}' --output '${table}' \\
        --workers ${workers} --threads ${threads} ${flags} --json > run.json
    """
}

process SPTX_VERIFY {
    tag "${table}"

    input:
    val table

    output:
    path 'verify.json', emit: report

    script:
    """
    sptx verify '${table}' --json > verify.json
    """
}

process SPTX_QUERY {
    tag "${name}"

    input:
    val table
    tuple val(name), val(what)

    output:
    path "${name}", emit: rows

    script:
    """
    sptx query '${table}' '${what}' --to '${name}'
    """
}
