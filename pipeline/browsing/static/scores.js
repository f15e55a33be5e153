// Tracks of one strand of a table: scores of acceptor and donor on a fixed scale, and usage by tissue at called sites.

import { INK, KIND, KINDS, NOT_COMPUTED, usageColour } from "./colours.js"
import { ask } from "./data.js"
import { count, fitted, tissueName } from "./text.js"
import { BOLD, nearest, PageTrack, SMALL } from "./track.js"

const LANE = 40 // pixels of the scale from 0 to 1
const GAP = 12
export const SCORES_HEIGHT = 2 * (LANE + GAP)

const HEAD = 14 // marks of the kind of a site above its column
const MIN_ROW = 11
const MAX_ROW = 15
const MAP_HEIGHT = 165 // wanted for all tissues together
const APART = 10 // bases a pixel from which acceptors and donors have lanes of their own
const MAX_COLUMN = 9
const MAX_SITES = 3000
const MAX_BINS = 20_000 // that the server gives at once

// Where bars go: each covers exactly its bases where these are wider than a pixel; else the greatest of a pixel is
// drawn, two pixels wide. Lists of {x, width, value}, a list a kind.
export function barsOf(scores, view) {
  const wide = scores.size / view.bpPerPixel
  const bars = {}
  for (const kind of KINDS) {
    const byPixel = new Map()
    bars[kind] = []
    scores.bin.forEach((bin, k) => {
      const value = scores[kind][k]
      const from = scores.start + bin * scores.size
      const x = Math.round(view.x(from))
      if (wide >= 2) bars[kind].push({ x, width: Math.round(view.x(from + scores.size)) - x, value, from })
      else if (value > (byPixel.get(x)?.value ?? 0)) byPixel.set(x, { x, width: 2, value, from })
    })
    if (wide < 2) bars[kind] = [...byPixel.values()].sort((one, other) => one.value - other.value)
  }
  return bars
}

class ScoreTrack extends PageTrack {
  async load(asked, bpPerPixel) {
    const wanted = (2 * (asked.end - asked.start)) / Math.max(1, bpPerPixel) // bins finer than pixels
    const bins = Math.max(1, Math.min(MAX_BINS, Math.ceil(wanted)))
    const answer = await ask("scores", { table: this.table, ...asked, strand: this.strand, bins })
    return { ...answer, chrom: asked.chrom }
  }

  paint(context, scores, view) {
    const bars = barsOf(scores, view)
    this.bars = bars
    KINDS.forEach((kind, lane) => {
      const top = lane * (LANE + GAP) + GAP - 3
      const base = top + LANE
      context.fillStyle = NOT_COMPUTED
      context.fillRect(0, top, view.width, LANE)
      context.fillStyle = "#ffffff"
      for (const [start, end] of scores.loci) {
        const x = Math.max(0, view.x(start))
        const right = Math.min(view.width, view.x(end))
        if (right > x) context.fillRect(x, top, Math.max(1, right - x), LANE)
      }
      context.fillStyle = "#e9edf1"
      context.fillRect(0, top, view.width, 1)
      context.fillRect(0, top + LANE / 2, view.width, 1)
      context.fillStyle = KIND[kind]
      for (const { x, width, value } of bars[kind]) {
        if (value >= 0.004 && x + width > 0 && x < view.width)
          context.fillRect(x, base - value * LANE, width, value * LANE)
      }
      if (scores.size / view.bpPerPixel >= 12) this.numbers(context, bars[kind], base)
      context.fillStyle = INK.line
      context.fillRect(0, base, view.width, 1)
    })
  }

  numbers(context, bars, base) {
    context.font = SMALL
    context.fillStyle = INK.text
    context.textAlign = "left"
    for (const { x, width, value } of bars) {
      if (value >= 0.05) context.fillText(value.toFixed(2), x + width + 3, base - Math.max(0, value * LANE - 9))
    }
  }

  axis(context, width) {
    context.font = SMALL
    this.title(context, `Scores, ${this.strand === "+" ? "+" : "−"} strand`, fitted(context, this.label, width - 24))
    KINDS.forEach((kind, lane) => {
      const top = lane * (LANE + GAP) + GAP - 3
      context.textAlign = "left"
      context.font = BOLD
      context.fillStyle = KIND[kind]
      context.fillText(kind, 6, top + LANE - 8)
      context.font = SMALL
      context.textAlign = "right"
      context.fillStyle = INK.soft
      context.fillText("1", width - 4, top + 8)
      context.fillText("0", width - 4, top + LANE)
    })
  }

  at(scores, click) {
    const half = scores.size / 2
    const k = nearest(
      scores.bin.map((bin) => scores.start + bin * scores.size + half - 0.5),
      click,
    )
    if (k < 0) return null
    const from = scores.start + scores.bin[k] * scores.size
    const title =
      scores.size === 1
        ? `${scores.chrom}:${count(from + 1)} (${this.strand})`
        : `Greatest of ${scores.chrom}:${count(from + 1)}-${count(from + scores.size)} (${this.strand})`
    const rows = [
      ["acceptor", scores.acceptor[k]],
      ["donor", scores.donor[k]],
    ]
    rows.push(["read from", scores.source === "sites" ? "the table of called sites" : "the scores of each base"])
    if (this.label) rows.push(["table", this.label])
    return { title, rows }
  }
}

// Columns of the map: of the sites that share pixels the strongest, for each lane.
function columnsOf(usage, view, apart) {
  const kindOf = (k) => (usage.acceptor[k] >= usage.donor[k] ? 0 : 1)
  const lanes = apart ? [[], []] : [[]]
  usage.pos.forEach((pos, k) => {
    const lane = lanes[apart ? kindOf(k) : 0]
    const exact = 1 / view.bpPerPixel >= 3
    const x = exact ? Math.round(view.x(pos - 1)) : Math.round(view.x(pos - 0.5))
    const width = exact ? Math.round(view.x(pos)) - x : null
    const score = Math.max(usage.acceptor[k], usage.donor[k])
    const last = lane[lane.length - 1]
    if (!last || x - last.x >= 2) lane.push({ k, x, width, score, kind: KINDS[kindOf(k)] })
    else if (score > last.score) lane[lane.length - 1] = { k, x, width, score, kind: KINDS[kindOf(k)] }
  })
  for (const lane of lanes) {
    lane.forEach((column, at) => {
      if (column.width !== null) return
      const left = at ? column.x - lane[at - 1].x : Infinity
      const right = at + 1 < lane.length ? lane[at + 1].x - column.x : Infinity
      column.width = Math.max(1, Math.min(MAX_COLUMN, Math.min(left, right) - 1))
      column.left = column.x - Math.floor(column.width / 2)
    })
  }
  return lanes
}

export function usageHeight(tissues) {
  return HEAD + tissues * rowHeight(tissues)
}

function rowHeight(tissues) {
  return Math.max(MIN_ROW, Math.min(MAX_ROW, Math.floor(MAP_HEIGHT / tissues)))
}

class UsageTrack extends PageTrack {
  async load(asked) {
    const parameters = { table: this.table, ...asked, strand: this.strand, least: this.least(), most: MAX_SITES }
    return { ...(await ask("usage", parameters)), chrom: asked.chrom }
  }

  paint(context, usage, view) {
    const apart = view.bpPerPixel >= APART
    const row = rowHeight(this.tissues.length)
    const bottom = HEAD + row * this.tissues.length
    context.fillStyle = "#f6f8fa"
    context.fillRect(0, HEAD, view.width, bottom - HEAD)
    columnsOf(usage, view, apart).forEach((columns, lane) => {
      const height = apart ? Math.floor((row - 1) / 2) : row - 1
      const down = apart ? lane * height : 0
      for (const { k, x, left, width, kind } of columns) {
        const from = left ?? x
        if (from + width < 0 || from > view.width) continue
        context.fillStyle = KIND[kind]
        context.fillRect(from, apart ? 3 + lane * 5 : 5, width, apart ? 4 : 7)
        this.tissues.forEach((_, t) => {
          context.fillStyle = usageColour(usage.usage[t][k])
          context.fillRect(from, HEAD + t * row + down, width, height)
        })
      }
    })
  }

  axis(context, width) {
    const row = rowHeight(this.tissues.length)
    context.font = BOLD
    context.textAlign = "left"
    context.fillStyle = INK.text
    const title = `Usage, ${this.strand === "+" ? "+" : "−"} ${this.more ? "strongest" : "strand"}`
    context.fillText(fitted(context, this.label ? `${title}, ${this.label}` : title, width - 8), 6, 10)
    context.font = SMALL
    context.textAlign = "right"
    context.fillStyle = INK.text
    this.tissues.forEach((tissue, t) => {
      context.fillText(fitted(context, tissueName(tissue), width - 10), width - 5, HEAD + t * row + row / 2 + 3)
    })
  }

  tellMore() {} // the title does: the room below is that of the tissues

  at(usage, click) {
    const k = nearest(
      usage.pos.map((pos) => pos - 1),
      click,
    )
    if (k < 0) return null
    const rows = [
      ["acceptor", usage.acceptor[k]],
      ["donor", usage.donor[k]],
    ]
    this.tissues.forEach((tissue, t) => rows.push([tissueName(tissue), usage.usage[t][k]]))
    return { title: `${usage.chrom}:${count(usage.pos[k])} (${this.strand})`, rows }
  }
}

igv.registerTrackClass("splice-scores", ScoreTrack)
igv.registerTrackClass("splice-usage", UsageTrack)
