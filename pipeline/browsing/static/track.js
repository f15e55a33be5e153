// What all tracks of the page share: answers fetched for a view, one way to draw axes, and popups whose text is never
// markup (igv's own popups and labels go into innerHTML, so the page uses neither).

import { INK } from "./colours.js"
import { count, region } from "./text.js"

export const FONT = "11px Arial, Helvetica, sans-serif"
export const SMALL = "10px Arial, Helvetica, sans-serif"
export const BOLD = "bold 11px Arial, Helvetica, sans-serif"

// How far a click may lie from what it means, in pixels.
export const REACH = 8

let show = () => {}

// `present(event, title, rows)` shows rows of [name, value] beside a click.
export function onPopup(present) {
  show = present
}

export class PageTrack extends igv.TrackBase {
  constructor(config, browser) {
    super(config, browser)
    this.resolutionAware = true
    this.visibilityWindow = -1
    this.ignoreTrackMenu = true
    Object.assign(this, config.page)
  }

  // igv asks for three screens and keeps what arrives last, so answers are given in the order of the questions. One
  // that fails is drawn as such, and asked for again when the server is back.
  async getFeatures(chrom, start, end, bpPerPixel) {
    const asked = { chrom, start: Math.max(0, Math.floor(start)), end: Math.ceil(end) }
    const before = this.asked
    const answer = this.load(asked, bpPerPixel).catch(() => ({ failed: true }))
    this.asked = answer
    await before
    this.more = (await answer).more ?? 0
    return [await answer]
  }

  draw(options) {
    const [answer] = options.features
    const { context, pixelWidth, pixelHeight, bpStart, bpPerPixel } = options
    const top = options.pixelTop || 0
    const view = { bpPerPixel, width: pixelWidth, height: this.height, top, x: (base) => (base - bpStart) / bpPerPixel }
    view.visible = options.referenceFrame ? Math.max(0, view.x(options.referenceFrame.start)) : 0
    view.visibleEnd = view.visible + (options.viewportWidth || pixelWidth)
    if (answer.failed) {
      context.fillStyle = "#fff4f2"
      context.fillRect(0, top, pixelWidth, pixelHeight)
    } else {
      this.paint(context, answer, view)
    }
  }

  paintAxis(context, width, height) {
    context.clearRect(0, 0, width, height)
    context.textBaseline = "alphabetic"
    this.axis(context, width, height)
    if (this.more) this.tellMore(context, height)
  }

  // How many of what is in view are not drawn; true where only that there are more is known.
  tellMore(context, height) {
    context.font = SMALL
    context.textAlign = "left"
    context.fillStyle = INK.warn
    context.fillText(this.more === true ? "not all: zoom in" : `+ ${count(this.more)}: zoom in`, 6, height - 3)
  }

  // Title at the upper left of the axis, and a line of explanation below it.
  title(context, text, below = "") {
    context.textAlign = "left"
    context.font = BOLD
    context.fillStyle = INK.text
    context.fillText(text, 6, 12)
    context.font = SMALL
    context.fillStyle = INK.soft
    if (below) context.fillText(below, 6, 24)
  }

  // igv shows what this returns as markup: it returns nothing, and the page shows text.
  popupData(click) {
    const answer = click.viewport.cachedFeatures?.[0]
    if (!answer || answer.failed) return []
    const found = this.at(answer, click)
    if (found) show(click.event, found.title, found.rows)
    return []
  }

  // The tooltip is a title attribute, which is text.
  hoverText(click) {
    const answer = click.viewport.cachedFeatures?.[0]
    const found = answer && !answer.failed ? this.at(answer, click) : null
    return found ? [found.title, ...found.rows.slice(0, 6).map(([name, value]) => `${name}: ${value}`)].join("\n") : ""
  }

  at() {
    return null
  }
}

// Nearest of ascending or unordered positions (0-based bases) to a click, or -1 if none lies within reach.
export function nearest(starts, click) {
  const { bpPerPixel } = click.referenceFrame
  const reach = Math.max(0.5, REACH * bpPerPixel)
  let best = -1
  let least = Infinity
  starts.forEach((start, k) => {
    const distance = Math.abs(start + 0.5 - click.genomicLocation)
    if (distance < least) [best, least] = [k, distance]
  })
  return least <= reach ? best : -1
}

export function place(chrom, start, end) {
  return region({ chrom, start, end })
}
