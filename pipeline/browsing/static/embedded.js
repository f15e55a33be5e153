// Answers of a page of one file. It holds, for one locus, what the server answers to the same questions: scores of each
// base from a least value on, all sites, transcripts, introns, bases and variants. Here they are cut to what is asked.

const MAX_FOUND = 20

function overlaps(start, end, { start: from, end: to }) {
  return from < end && to > start
}

// Maxima on the same grid as the server's: `size` is a power of two, bins begin at multiples of it.
function binned(scores, { start, end, bins }) {
  let size = 1
  while (size * bins < end - start) size *= 2
  const from = Math.floor(start / size) * size
  const found = new Map()
  scores.bin.forEach((bin, k) => {
    const base = scores.start + bin
    if (base < from || base >= end) return
    const at = Math.floor((base - from) / size)
    const best = found.get(at) || [0, 0]
    found.set(at, [Math.max(best[0], scores.acceptor[k]), Math.max(best[1], scores.donor[k])])
  })
  const bin = [...found.keys()]
  const values = [...found.values()]
  const acceptor = values.map((pair) => pair[0])
  return {
    source: scores.source,
    start: from,
    size,
    bin,
    acceptor,
    donor: values.map((pair) => pair[1]),
    loci: scores.loci,
  }
}

// Of more than `most` indices those with the greatest scores, in their order, and how many were left out.
function strongest(indices, scoreOf, most) {
  const kept = new Set([...indices].sort((one, other) => scoreOf(other) - scoreOf(one)).slice(0, most))
  return { more: indices.length - kept.size, kept: indices.filter((k) => kept.has(k)) }
}

function usageOf(all, { start, end, least, most }) {
  const score = (k) => Math.max(all.acceptor[k], all.donor[k])
  const within = [...all.pos.keys()].filter((k) => all.pos[k] > start && all.pos[k] <= end && score(k) >= least)
  const { more, kept } = strongest(within, score, most)
  const pick = (values) => kept.map((k) => values[k])
  return { more, pos: pick(all.pos), acceptor: pick(all.acceptor), donor: pick(all.donor), usage: all.usage.map(pick) }
}

function sitesOf({ columns, rows }, { start, end, least, most }) {
  const [pos, score] = ["pos", "score"].map((name) => columns.indexOf(name))
  const within = [...rows.keys()].filter((k) => rows[k][pos] > start && rows[k][pos] <= end && rows[k][score] >= least)
  const { more, kept } = strongest(within, (k) => rows[k][score], most)
  return { more, columns, rows: kept.map((k) => rows[k]) }
}

function found(held, query) {
  const text = query.trim()
  const { chrom, start, end } = held.region
  const region = text.match(/^(.*):([\d,]+)(?:-([\d,]+))?$/)
  if (region && region[1] === chrom) {
    const number = (digits) => Number(digits.replaceAll(",", ""))
    const from = number(region[2]) - 1
    const place = { name: text, kind: "region", chrom, start: from, end: region[3] ? number(region[3]) : from + 1 }
    return { loci: overlaps(start, end, place) ? [place] : [] }
  }
  if (text === chrom) return { loci: [{ name: chrom, kind: "region", chrom, start, end }] }
  const named = new Map()
  for (const one of held.transcripts) {
    const names = [
      ["gene", one.gene || one.gene_id],
      ["gene", one.gene_id],
      ["transcript", one.id],
    ]
    for (const [kind, name] of names) {
      if (!name || !name.toLowerCase().startsWith(text.toLowerCase())) continue
      const before = named.get(name)
      const from = Math.min(one.start, before ? before.start : one.start)
      const to = Math.max(one.end, before ? before.end : one.end)
      named.set(name, { name, kind, chrom, strand: one.strand, start: Math.max(from, start), end: Math.min(to, end) })
    }
  }
  return { loci: [...named.values()].slice(0, MAX_FOUND) }
}

export function answerFrom(held, question, asked) {
  const { start, end } = asked
  const strand = `${asked.table}${asked.strand}`
  switch (question) {
    case "config":
      return held.config
    case "scores":
      return binned(held.scores[strand], asked)
    case "usage":
      return usageOf(held.usage[strand], asked)
    case "sites":
      return sitesOf(held.sites[asked.table], asked)
    case "introns":
      return { more: 0, introns: held.introns[strand].filter(([from, to]) => from < end && to > start) }
    case "transcripts":
      return held.transcripts.filter((one) => overlaps(start, end, one)).slice(0, asked.most)
    case "sequence": {
      const from = Math.max(start, held.sequence.start)
      const at = from - held.sequence.start
      return { start: from, sequence: held.sequence.sequence.slice(at, Math.max(at, end - held.sequence.start)) }
    }
    case "variants":
      return { more: 0, variants: held.variants.filter((one) => one.pos > start && one.pos <= end) }
    case "variant":
      return held.variant[asked.key]
    case "find":
      return found(held, asked.q)
    default:
      throw new Error(`this page holds no ${question}`)
  }
}
