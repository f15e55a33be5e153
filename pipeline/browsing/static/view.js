// igv.js with the page's tracks: made once, and moved by places {chrom, start, end} (0-based, half-open).

import { ONE_FILE } from "./data.js"
import { GENES_HEIGHT, INTRONS_HEIGHT, SEQUENCE_HEIGHT } from "./genes.js"
import { SCORES_HEIGHT, usageHeight } from "./scores.js"
import { VARIANTS_HEIGHT } from "./variants.js"

const AXIS = 118 // pixels left of the tracks, for titles and tissues
const IGV_AXIS = 50 // what igv reckons with whatever axisWidth is
const MIN_BASES = 20
const STRANDS = ["+", "-"]

export class View {
  constructor(browser, config) {
    this.browser = browser
    this.config = config
    this.loaded = new Map()
  }

  // `settings()` gives what tracks ask for: {least}.
  static async open(div, config, place, settings) {
    const lines = config.contigs.map(([name, length]) => `${name}\t${length}\n`)
    const reference = {
      id: "table",
      name: "table",
      format: "chromsizes",
      fastaURL: new File(lines, "contigs.txt"), // nothing is fetched for it
      aliasURL: new File([""], "aliases.txt"), // the server knows aliases; igv's own guesses fail for some names
      wholeGenomeView: false,
    }
    const browser = await igv.createBrowser(div, {
      reference,
      locus: { chr: place.chrom, start: place.start, end: place.end },
      tracks: [],
      axisWidth: AXIS,
      doubleClickDelay: 300,
      loadDefaultGenomes: false,
      minimumBases: MIN_BASES,
      search: false, // the page searches by itself; igv would ask its makers' server
      showControls: false,
      showGearColumn: false,
      showIdeogram: !ONE_FILE,
      showSequence: false,
      showTrackDragHandles: false,
      showTrackLabels: false,
    })
    const reckoned = browser.calculateViewportWidth.bind(browser)
    browser.calculateViewportWidth = (columns) => reckoned(columns) - (AXIS - IGV_AXIS)
    if (ONE_FILE) keepWithin(browser.genome.getChromosome(place.chrom), ONE_FILE.region)
    const view = new View(browser, config)
    view.settings = settings
    await view.go(place) // at the width that is left: tracks take theirs as they are made
    for (const made of browser.trackViews) made.resizeAxisCanvas(AXIS, made.track.height) // the ruler has its own already
    return view
  }

  where() {
    const [frame] = this.browser.referenceFrameList
    const width = this.browser.calculateViewportWidth(1)
    const end = Math.min(this.length(frame.chr), Math.round(frame.start + frame.bpPerPixel * width))
    return { chrom: frame.chr, start: Math.max(0, Math.round(frame.start)), end }
  }

  length(chrom) {
    return this.config.contigs.find(([name]) => name === chrom)?.[1] ?? 0
  }

  // The base under a place of the window, as in events of the mouse.
  baseAt(clientX) {
    const [frame] = this.browser.referenceFrameList
    const { left } = this.browser.columnContainer.querySelector(".igv-column").getBoundingClientRect()
    return Math.round(frame.start + (clientX - left) * frame.bpPerPixel)
  }

  onMove(tell) {
    this.browser.on("locuschange", tell)
  }

  async go({ chrom, start, end }) {
    const length = this.length(chrom)
    const wanted = Math.max(MIN_BASES, Math.min(end - start, length))
    const from = Math.max(0, Math.min(Math.round((start + end - wanted) / 2), length - wanted))
    const span = ONE_FILE ? within(from, from + wanted, ONE_FILE.region) : [from, Math.min(length, from + wanted)]
    await this.browser.updateLoci([{ chr: chrom, start: span[0], end: span[1] }])
  }

  async pan(screens) {
    const width = this.browser.calculateViewportWidth(1)
    this.browser.referenceFrameList[0].shiftPixels(Math.round(screens * width), width, true)
    await this.browser.updateViews()
  }

  // Show `factor` times as many bases, about a base or the middle.
  async zoom(factor, centre) {
    await this.browser.zoomWithScaleFactor(factor, centre)
  }

  // Ask for everything again.
  async refresh() {
    for (const { track } of this.loaded.values()) track.clearCachedFeatures()
    await this.browser.updateViews()
  }

  // Draw again where names are held to the left edge of the view.
  repaintGenes() {
    this.loaded.get("transcripts")?.track.repaintViews()
  }

  // Show the tracks of `list()` whose keys are wanted, and no others.
  async show(wanted) {
    const all = this.list()
    for (const [key, { track }] of this.loaded) {
      if (wanted(key)) continue
      this.browser.removeTrack(track)
      this.loaded.delete(key)
    }
    const missing = all.filter(({ key }) => wanted(key) && !this.loaded.has(key))
    const tracks = await this.browser.loadTrackList(missing.map(({ track }) => track))
    missing.forEach(({ key }, k) => this.loaded.set(key, { track: tracks[k] }))
  }

  // Every track in its order: {key, track}. Keys are what menus and links call them.
  list() {
    const { tables, variants } = this.config
    const two = tables.length > 1
    const label = (table) => (two ? `${"AB"[table]}: ${tables[table].name}` : "")
    const made = []
    const add = (key, type, height, page = {}) => {
      const order = made.length + 1
      made.push({ key, track: { name: key, id: key, type, height, order, minHeight: height, maxHeight: 1000, page } })
    }
    if (tables.length) add("bases", "splice-bases", SEQUENCE_HEIGHT)
    add("transcripts", "splice-transcripts", GENES_HEIGHT)
    if (variants) add("variants", "splice-variants", VARIANTS_HEIGHT)
    for (const strand of STRANDS) {
      if (tables.length) add(`introns ${strand}`, "splice-introns", INTRONS_HEIGHT, { table: 0, strand })
      tables.forEach((_, table) => {
        add(`scores ${table} ${strand}`, "splice-scores", SCORES_HEIGHT, { table, strand, label: label(table) })
      })
      tables.forEach(({ tissues }, table) => {
        if (!tissues.length) return
        const page = { table, strand, tissues, label: two ? "AB"[table] : "", least: () => this.settings().least }
        add(`usage ${table} ${strand}`, "splice-usage", usageHeight(tissues.length), page)
      })
    }
    return made
  }
}

// A page of one file holds one stretch of the contig: igv moves within these.
function keepWithin(contig, { start, end }) {
  Object.assign(contig, { bpStart: start, bpLength: end })
}

function within(start, end, held) {
  const size = Math.min(end - start, held.end - held.start)
  const left = Math.max(held.start, Math.min(start, held.end - size))
  return [left, left + size]
}
