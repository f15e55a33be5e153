// Tracks of the annotation: transcripts with exons and strand, annotated introns as arcs, and the bases.

import { BASES, INK, intronColour, NO_SCORE } from "./colours.js"
import { ask } from "./data.js"
import { counted, fitted } from "./text.js"
import { BOLD, FONT, PageTrack, place, SMALL } from "./track.js"

const ROW = 25
const BOX = 10
const MAX_TRANSCRIPTS = 400
const GENES_ONLY = 400 // bases a pixel from which a gene is one line
const LABEL_ROOM = 6

export const GENES_HEIGHT = 4 * ROW + 2
export const INTRONS_HEIGHT = 50
export const SEQUENCE_HEIGHT = 32
const MAX_INTRONS = 1500
const NUMBER = 24 // pixels of a score on an arc
const MAX_LETTERS = 0.5 // bases a pixel up to which bases are asked for

function nameOf(one, short) {
  const gene = one.gene || one.gene_id || ""
  if (short) return gene || one.id
  return [gene, one.id, one.mane ? "MANE" : "", `(${one.strand})`].filter(Boolean).join(" ")
}

// Rows such that neither transcripts nor their names overlap; those that come first lie on top.
function packed(transcripts, bpPerPixel, short) {
  const ends = []
  return transcripts.map((one) => {
    const name = nameOf(one, short)
    const right = Math.max(one.end, one.start + name.length * LABEL_ROOM * bpPerPixel) + 10 * bpPerPixel
    let row = ends.findIndex((taken) => taken.every(([from, to]) => right <= from || one.start >= to))
    if (row < 0) row = ends.push([]) - 1
    ends[row].push([one.start, right])
    return { ...one, name, row }
  })
}

class TranscriptTrack extends PageTrack {
  async load(asked, bpPerPixel) {
    let transcripts = await ask("transcripts", { ...asked, most: MAX_TRANSCRIPTS })
    const more = transcripts.length >= MAX_TRANSCRIPTS
    const short = bpPerPixel >= GENES_ONLY
    if (short) {
      const seen = new Set()
      transcripts = transcripts.filter((one) => {
        const gene = one.gene_id || one.gene || one.id
        return seen.has(gene) ? false : seen.add(gene)
      })
    }
    return { chrom: asked.chrom, more, transcripts: packed(transcripts, bpPerPixel, short) }
  }

  computePixelHeight([answer]) {
    const rows = (answer?.transcripts ?? []).map((one) => one.row)
    return Math.max(GENES_HEIGHT, ROW * (Math.max(-1, ...rows) + 1) + 2)
  }

  paint(context, { transcripts }, view) {
    for (const one of transcripts) this.transcript(context, one, view)
  }

  transcript(context, one, view) {
    const [left, right] = [view.x(one.start), view.x(one.end)]
    if (right < 0 || left > view.width) return
    const top = 2 + one.row * ROW
    const middle = top + 12 + BOX / 2
    const ink = one.mane ? INK.mane : INK.other
    context.font = one.mane ? BOLD : FONT
    context.fillStyle = one.mane ? INK.mane : INK.soft
    context.textAlign = "left"
    const at = Math.max(left, Math.min(view.visible + 4, right - 40))
    context.fillText(one.name, at, top + 9)
    context.fillStyle = ink
    const [from, to] = [Math.max(0, left), Math.min(view.width, right)]
    context.fillRect(from, middle - 0.5, Math.max(1, to - from), 1)
    this.arrows(context, one, from, to, middle, ink)
    for (const [start, end] of one.exons) {
      const x = Math.max(-2, view.x(start))
      const width = Math.min(view.width + 2, view.x(end)) - x
      if (width > -2 && x < view.width) context.fillRect(x, top + 12, Math.max(1, width), BOX)
    }
  }

  arrows(context, one, from, to, middle, ink) {
    const turn = one.strand === "-" ? 1 : -1
    context.strokeStyle = ink
    context.lineWidth = 1
    for (let x = Math.ceil((from + 12) / 36) * 36; x < to - 8; x += 36) {
      context.beginPath()
      context.moveTo(x + 3 * turn, middle - 3)
      context.lineTo(x, middle)
      context.lineTo(x + 3 * turn, middle + 3)
      context.stroke()
    }
  }

  axis(context) {
    this.title(context, "Transcripts", "exons as boxes;")
    context.fillText("MANE first, dark", 6, 36)
  }

  at({ chrom, transcripts }, click) {
    const row = Math.floor((click.y - 2) / ROW)
    const here = click.genomicLocation
    const reach = 2 * click.referenceFrame.bpPerPixel
    const one = transcripts.find((some) => some.row === row && here >= some.start - reach && here <= some.end + reach)
    if (!one) return null
    const rows = [
      ["gene", one.gene || one.gene_id || "none"],
      ["gene id", one.gene_id],
      ["biotype", one.biotype],
    ]
    rows.push(["strand", one.strand], ["place", place(chrom, one.start, one.end)], ["exons", one.exons.length])
    const exon = one.exons.findIndex(([start, end]) => here >= start && here <= end)
    if (exon >= 0) rows.push(["here", `exon ${one.strand === "-" ? one.exons.length - exon : exon + 1}`])
    if (one.mane) rows.push(["MANE", "yes"])
    return { title: one.id, rows: rows.filter(([, value]) => value !== null && value !== undefined && value !== "") }
  }
}

function height(left, right, base) {
  return Math.min(base - 12, 5 + (right - left) * 0.3)
}

class IntronTrack extends PageTrack {
  async load(asked) {
    const parameters = { table: this.table, ...asked, strand: this.strand, most: MAX_INTRONS }
    return { ...(await ask("introns", parameters)), chrom: asked.chrom }
  }

  paint(context, { introns }, view) {
    const base = INTRONS_HEIGHT - 3
    context.fillStyle = "#ffffff"
    context.fillRect(0, 0, view.width, INTRONS_HEIGHT)
    const arcs = introns
      .map(([start, end, score]) => ({ left: view.x(start), right: view.x(end), score }))
      .filter(({ left, right }) => right >= 0 && left <= view.width && right - left >= 1)
    arcs.sort((one, other) => (one.score ?? -1) - (other.score ?? -1))
    for (const arc of arcs) this.arc(context, arc, base)
    const taken = [] // numbers do not cover each other; the strongest introns have theirs
    for (const { left, right, score } of arcs.reverse()) {
      const middle = (left + right) / 2
      if (right - left < 40 || taken.some((other) => Math.abs(other - middle) < NUMBER + 2)) continue
      this.number(context, score, middle, base - height(left, right, base) + 4)
      taken.push(middle)
    }
  }

  arc(context, { left, right, score }, base) {
    const [wide, high] = [right - left, height(left, right, base) * 1.33] // a curve reaches 3/4 of its handles
    context.strokeStyle = intronColour(score)
    context.lineWidth = score === null ? 1 : 1.6
    context.beginPath()
    context.moveTo(left, base)
    context.bezierCurveTo(left + wide * 0.2, base - high, right - wide * 0.2, base - high, right, base)
    context.stroke()
  }

  number(context, score, x, y) {
    const text = score === null ? "–" : score.toFixed(2)
    context.font = SMALL
    context.textAlign = "center"
    context.fillStyle = "#ffffff"
    context.fillRect(x - NUMBER / 2, y - 9, NUMBER, 11)
    context.fillStyle = score === null ? NO_SCORE : INK.text
    context.fillText(text, x, y)
  }

  axis(context) {
    this.title(context, `Introns, ${this.strand === "+" ? "+" : "−"} strand`, "of the annotation;")
    context.fillText("weaker site’s score", 6, 36)
  }

  at({ chrom, introns }, click) {
    const here = click.genomicLocation
    const over = introns.filter(([start, end]) => here >= start && here < end)
    if (!over.length) return null
    const [start, end, score, transcripts] = over.reduce((one, other) =>
      other[1] - other[0] < one[1] - one[0] ? other : one,
    )
    const rows = [
      ["length", counted(end - start, "base")],
      ["weaker site", score === null ? "not computed" : score],
    ]
    rows.push(["transcripts that have it", transcripts])
    return { title: `Annotated intron ${place(chrom, start, end)} (${this.strand})`, rows }
  }
}

const COMPLEMENT = { A: "T", C: "G", G: "C", T: "A" }

class SequenceTrack extends PageTrack {
  async load(asked, bpPerPixel) {
    if (bpPerPixel > MAX_LETTERS) return { start: asked.start, sequence: "" }
    return ask("sequence", { table: 0, ...asked })
  }

  paint(context, { start, sequence }, view) {
    const wide = 1 / view.bpPerPixel
    if (!sequence) {
      context.font = SMALL
      context.fillStyle = INK.soft
      context.textAlign = "left"
      context.fillText("zoom in to see the bases", view.visible + 8, 20)
      return
    }
    for (let k = 0; k < sequence.length; k += 1) {
      const x = view.x(start + k)
      if (x + wide < 0 || x > view.width) continue
      const base = sequence[k].toUpperCase()
      if (wide >= 7) {
        this.letter(context, base, x + wide / 2, 13)
        this.letter(context, COMPLEMENT[base] || base, x + wide / 2, 28)
      } else if (base in BASES) {
        context.fillStyle = BASES[base]
        context.fillRect(x, 5, Math.max(1, wide - 0.3), 9)
        context.fillStyle = BASES[COMPLEMENT[base]]
        context.fillRect(x, 19, Math.max(1, wide - 0.3), 9)
      }
    }
  }

  letter(context, base, x, y) {
    context.font = "bold 12px Arial, Helvetica, sans-serif"
    context.textAlign = "center"
    context.fillStyle = BASES[base] || INK.soft
    context.fillText(base, x, y)
  }

  axis(context, width) {
    this.title(context, "Bases")
    context.font = SMALL
    context.textAlign = "right"
    context.fillStyle = INK.soft
    context.fillText(fitted(context, "+ 5′ to 3′", width - 50), width - 5, 13)
    context.fillText(fitted(context, "− 3′ to 5′", width - 50), width - 5, 28)
  }
}

igv.registerTrackClass("splice-transcripts", TranscriptTrack)
igv.registerTrackClass("splice-introns", IntronTrack)
igv.registerTrackClass("splice-bases", SequenceTrack)
