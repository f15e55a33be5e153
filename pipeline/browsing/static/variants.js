// A track of scored variants, and a panel with the scores of the reference and the alternative about one of them.

import { INK, KIND, KINDS } from "./colours.js"
import { ask } from "./data.js"
import { count, element, tissueName } from "./text.js"
import { nearest, PageTrack, SMALL } from "./track.js"

export const VARIANTS_HEIGHT = 44
const MAX_VARIANTS = 1500
const BASE = VARIANTS_HEIGHT - 4
const SCALE = 24
const VARIANT = "#7b3f98"
const MIN_SHOWN = 0.01 // scores from which a position is listed
const MIN_CHANGE = 0.01

let open = () => {}

// `choose(key)` is called with the key of a variant that is clicked.
export function onVariant(choose) {
  open = choose
}

class VariantTrack extends PageTrack {
  async load(asked) {
    const answer = await ask("variants", { ...asked, most: MAX_VARIANTS })
    return { ...answer, chrom: asked.chrom }
  }

  paint(context, { variants }, view) {
    context.fillStyle = INK.line
    context.fillRect(0, BASE, view.width, 1)
    let free = -Infinity
    for (const one of variants) {
      const x = view.x(one.pos - 0.5)
      if (x < -20 || x > view.width + 20) continue
      const high = Math.abs(one.d_splice ?? 0) * SCALE
      context.fillStyle = VARIANT
      context.fillRect(x - 0.5, BASE - high, 1, high)
      context.beginPath()
      context.arc(x, BASE - high, 2.5, 0, 2 * Math.PI)
      context.fill()
      const text = change(one)
      context.font = SMALL
      if (x - 4 > free && high > 1) {
        context.textAlign = "left"
        context.fillStyle = INK.text
        context.fillText(text, x + 5, BASE - high + 3)
        free = x + 10 + context.measureText(text).width
      }
    }
  }

  axis(context, width) {
    this.title(context, "Variants", "change of splicing")
    context.textAlign = "right"
    context.fillText("1", width - 4, BASE - SCALE + 6)
    context.fillText("0", width - 4, BASE)
  }

  at({ chrom, variants }, click) {
    const k = nearest(variants.map((one) => one.pos - 1), click)
    if (k < 0) return null
    const one = variants[k]
    const rows = [["change", change(one)], ["gene", one.gene], ["strand", one.strand], ["change of splicing", one.d_splice]]
    rows.push(["calls", (one.calls || []).map(told).join(", ") || "none"])
    return { title: `${chrom}:${count(one.pos)}`, rows, key: one.key }
  }

  popupData(click) {
    const answer = click.viewport.cachedFeatures?.[0]
    const found = answer && !answer.failed ? this.at(answer, click) : null
    if (found) open(found.key)
    return []
  }
}

igv.registerTrackClass("splice-variants", VariantTrack)

function change(one) {
  const short = (bases) => (bases.length > 8 ? `${bases.slice(0, 7)}…` : bases)
  return `${short(one.ref)}>${short(one.alt)}`
}

function told(call) {
  return typeof call === "string" ? call : Object.values(call).join(" ")
}

// Bars of one allele: a small canvas, positions from left to right as on the genome.
function bars(scores, positions, width) {
  const height = 54
  const canvas = element("canvas", { width: 2 * width, height: 2 * height })
  Object.assign(canvas.style, { width: `${width}px`, height: `${height}px` })
  const context = canvas.getContext("2d")
  context.scale(2, 2)
  context.fillStyle = INK.line
  context.fillRect(0, height - 1, width, 1)
  const wide = width / positions.length
  for (const kind of KINDS) {
    context.fillStyle = KIND[kind]
    scores[kind].forEach((value, k) => {
      const shown = (value ?? 0) * (height - 4)
      if (shown >= 0.5) context.fillRect(k * wide, height - 1 - shown, Math.max(2, wide), shown)
    })
  }
  return canvas
}

function listed(scores) {
  const rows = []
  for (const kind of KINDS) {
    scores.pos.forEach((pos, k) => {
      const [before, after] = [scores.ref[kind][k] ?? 0, scores.alt[kind][k] ?? 0]
      if (Math.max(before, after) >= MIN_SHOWN && Math.abs(after - before) >= MIN_CHANGE) rows.push({ pos, kind, before, after })
    })
  }
  return rows.sort((one, other) => Math.abs(other.after - other.before) - Math.abs(one.after - one.before)).slice(0, 12)
}

function scoreTable(scores) {
  const body = element("tbody")
  for (const { pos, kind, before, after } of listed(scores)) {
    const mark = element("td", { textContent: kind, className: kind })
    const cells = [count(pos), before.toFixed(3), after.toFixed(3), `${after > before ? "+" : "−"}${Math.abs(after - before).toFixed(3)}`]
    const [first, ...rest] = cells.map((text) => element("td", { textContent: text, className: "number" }))
    body.append(element("tr", {}, first, mark, ...rest))
  }
  const heads = ["position", "site", "reference", "alternative", "change"].map((text) => element("th", { textContent: text }))
  return element("table", { className: "plain" }, element("thead", {}, element("tr", {}, ...heads)), body)
}

// Fill the panel with a variant's scores; an empty `key` closes it.
export async function fillVariant(panel, key) {
  panel.hidden = !key
  panel.replaceChildren()
  if (!key) return
  let scores
  try {
    scores = await ask("variant", { key })
  } catch (error) {
    panel.append(element("p", { textContent: error.message }))
    return
  }
  const close = element("button", { textContent: "Close", type: "button", onclick: () => fillVariant(panel, "") })
  panel.append(element("h2", {}, `Variant ${key}`, close))
  if (scores.pos?.length) {
    const width = Math.min(1000, panel.clientWidth - 140)
    for (const [allele, name] of [["ref", "reference"], ["alt", "alternative"]]) {
      panel.append(element("div", { className: "allele" }, element("span", { textContent: name }), bars(scores[allele], scores.pos, width)))
    }
    panel.append(scoreTable(scores))
  } else {
    panel.append(element("p", { textContent: "The table of variants holds no positions about this one." }))
  }
  const changed = Object.entries(scores.tissues ?? {}).map(([name, value]) => `${tissueName(name)} ${Number(value).toFixed(2)}`)
  if (changed.length) panel.append(element("p", { textContent: `Change of usage: ${changed.join(", ")}` }))
}
