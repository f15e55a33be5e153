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
const MIN_CHANGE = 0.01 // of a score, to be listed
const MAX_CHANGES = 12
const BARS = 54 // pixels

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
    const at = variants.map((one) => view.x(one.pos - 0.5))
    let free = -Infinity // names cover neither each other nor the next variant
    variants.forEach((one, k) => {
      const x = at[k]
      if (x < -20 || x > view.width + 20) return
      const high = Math.abs(one.d_splice ?? 0) * SCALE
      context.fillStyle = VARIANT
      context.fillRect(x - 0.5, BASE - high, 1, high)
      context.beginPath()
      context.arc(x, BASE - high, 2.5, 0, 2 * Math.PI)
      context.fill()
      context.font = SMALL
      const right = x + 8 + context.measureText(change(one)).width
      const next = at.slice(k + 1).find((other) => other > x) ?? Infinity
      if (x - 4 < free || right > next) return
      context.textAlign = "left"
      context.fillStyle = INK.text
      context.fillText(change(one), x + 5, BASE - Math.max(high, 3) + 3)
      free = right
    })
  }

  axis(context, width) {
    this.title(context, "Variants", "change of splicing")
    context.textAlign = "right"
    context.fillText("1", width - 4, BASE - SCALE + 6)
    context.fillText("0", width - 4, BASE)
  }

  at({ chrom, variants }, click) {
    const k = nearest(
      variants.map((one) => one.pos - 1),
      click,
    )
    if (k < 0) return null
    const one = variants[k]
    const rows = [
      ["change", change(one)],
      ["gene", one.gene],
      ["strand", one.strand],
      ["change of splicing", one.d_splice],
    ]
    rows.push(["tissues", (one.calls || []).map(tissueName).join(", ") || "none called"])
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

// Bars of one allele: a small canvas, positions from left to right as on the genome.
function bars(scores, allele, width) {
  const canvas = element("canvas", { width: 2 * width, height: 2 * BARS })
  Object.assign(canvas.style, { width: `${width}px`, height: `${BARS}px` })
  const context = canvas.getContext("2d")
  context.scale(2, 2)
  context.fillStyle = INK.line
  context.fillRect(0, BARS - 1, width, 1)
  const first = Math.min(...scores.pos) - 1
  const wide = width / (Math.max(...scores.pos) - first + 1)
  for (const kind of KINDS) {
    context.fillStyle = KIND[kind]
    scores[allele][kind].forEach((value, k) => {
      const high = (value ?? 0) * (BARS - 4)
      if (high >= 0.5) context.fillRect((scores.pos[k] - first) * wide, BARS - 1 - high, Math.max(3, wide), high)
    })
  }
  return canvas
}

// Changes of a site, the greatest first. A base that is inserted has the position before it, and how far it lies behind.
function changes(scores) {
  const rows = []
  for (const kind of KINDS) {
    scores.pos.forEach((pos, k) => {
      const [before, after] = [scores.ref[kind][k], scores.alt[kind][k]]
      const by = (after ?? 0) - (before ?? 0)
      const inserted = scores.ins_offset?.[k]
      if (Math.abs(by) >= MIN_CHANGE)
        rows.push({ k, kind, before, after, by, at: inserted ? `${count(pos)}+${inserted}` : count(pos) })
    })
  }
  return rows.sort((one, other) => Math.abs(other.by) - Math.abs(one.by)).slice(0, MAX_CHANGES)
}

function shown(value, digits = 3) {
  return value === null || value === undefined ? "–" : value.toFixed(digits)
}

function scoreTable(scores) {
  const tissues = Object.keys(scores.tissues ?? {})
  const body = element("tbody")
  for (const { k, kind, before, after, by, at } of changes(scores)) {
    const numbers = [shown(before), shown(after), `${by > 0 ? "+" : "−"}${Math.abs(by).toFixed(3)}`]
    const usage = tissues.map((name) =>
      ["ref", "alt"].map((side) => shown(scores.tissues[name][side][k], 2)).join(" → "),
    )
    const cells = [...numbers, ...usage].map((text) => element("td", { textContent: text, className: "number" }))
    const place = element("td", { textContent: at, className: "number" })
    body.append(element("tr", {}, place, element("td", { textContent: kind, className: kind }), ...cells))
  }
  const heads = ["position", "site", "reference", "alternative", "change", ...tissues.map(tissueName)]
  const row = element(
    "tr",
    {},
    ...heads.map((text) => element("th", { textContent: text, className: text === "site" ? "" : "number" })),
  )
  return element(
    "div",
    { className: "wide" },
    element("table", { className: "plain" }, element("thead", {}, row), body),
  )
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
  if (!scores.pos.length) {
    panel.append(
      element("p", { textContent: "The table of variants holds no scores about it: score it with --sites." }),
    )
    return
  }
  const width = Math.min(1000, panel.clientWidth - 140)
  for (const [allele, name] of [
    ["ref", "reference"],
    ["alt", "alternative"],
  ]) {
    panel.append(
      element("div", { className: "allele" }, element("span", { textContent: name }), bars(scores, allele, width)),
    )
  }
  const ends = [Math.min(...scores.pos), Math.max(...scores.pos)].map(count)
  const strand = scores.strand === "-" ? "−" : "+"
  const told = `Bases ${ends.join(" to ")}, ${strand} strand. Below: what changes most, and usage by tissue before → after.`
  panel.append(element("p", { className: "soft", textContent: told }), scoreTable(scores))
}
