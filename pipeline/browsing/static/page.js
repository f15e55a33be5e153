// The page: what stands in index.html, put to work.

import { ask, forget, ONE_FILE, onTrouble } from "./data.js"
import { saveSVG, savePNG } from "./pictures.js"
import { placeOf, SearchBox } from "./search.js"
import { SitesTable } from "./sites.js"
import { bases, counted, element, fromHash, shortName, toHash } from "./text.js"
import { onPopup } from "./track.js"
import { fillVariant, onVariant } from "./variants.js"
import { View } from "./view.js"

const LEAST = 0.1 // score of a site, unless the page is told another
const SETTLED = 150 // ms without a move before the address and the table follow
const LOOK_AGAIN = 10_000 // ms between looks at a table that is being made
const SITE_VIEW = 60 // bases about a site that is clicked

const at = (id) => document.getElementById(id)
let page = {}

// What a person asked for and is not there.
function say(sentence) {
  at("notice").textContent = sentence
  at("notice").hidden = !sentence
}

// What keeps answers from coming; it goes when one comes.
function tellTrouble(sentence) {
  at("trouble-text").textContent = sentence
  at("trouble").hidden = !sentence
}

// Where the view begins: the address, else what the server says.
async function firstPlace(config) {
  const asked = fromHash(location.hash)
  if (asked) {
    const place = await placeOf(asked).catch(() => null)
    if (place) return place
    say(`Nothing here is called ${asked}, which the address asks for.`)
  }
  return placeOf(config.locus)
}

// Moves that a person asks for can be taken back by the browser's button; others only keep the address true.
async function go(place) {
  history.pushState(null, "", toHash(place))
  say("")
  await page.view.go(place)
}

function moved() {
  clearTimeout(page.timer)
  page.timer = setTimeout(settled, SETTLED)
}

async function settled() {
  const place = page.view.where()
  if (ONE_FILE && place.start < ONE_FILE.region.start) return page.view.go(ONE_FILE.region)
  page.box.showPlace(place)
  at("width").textContent = bases(place.end - place.start)
  if (at("contig").value !== place.chrom) at("contig").value = place.chrom
  if (location.hash !== toHash(place)) history.replaceState(null, "", toHash(place))
  page.view.repaintGenes()
  if (page.sites) await page.sites.update(place)
  document.body.dataset.place = toHash(place) // what tests and pictures wait for
}

function tellOf({ version, tables, annotation, variants }) {
  at("version").textContent = `sptx ${version}`
  const parts = tables.map((table, k) => {
    const details = [
      `run ${table.fingerprint}`,
      table.precision,
      `flanks ${table.flanks}`,
      table.tissues.length ? counted(table.tissues.length, "tissue") : "",
    ]
    const name = element("b", {
      textContent: tables.length > 1 ? `${"AB"[k]}: ${table.name}` : table.name,
      title: table.place,
    })
    return element(
      "span",
      { className: "table", title: `${table.place}\ncheckpoint ${table.checkpoint}` },
      name,
      ` ${details.filter(Boolean).join(", ")}`,
    )
  })
  if (variants)
    parts.push(
      element(
        "span",
        { className: "table", title: variants.place },
        element("b", { textContent: variants.name }),
        " variants",
      ),
    )
  at("tables").replaceChildren(...parts)
  at("usage-legend").hidden = !tables.some(({ tissues }) => tissues.length)
  at("annotation").textContent = annotation ? `Annotation: ${annotation}. ` : ""
  document.title = `${tables.map(({ name }) => name).join(" and ") || variants?.name || "sptx"} – sptx browse`
  tellUnfinished(tables)
}

function tellUnfinished(tables) {
  const waiting = tables.filter(({ unfinished }) => unfinished)
  at("unfinished").hidden = !waiting.length
  const [is, grey] = ONE_FILE
    ? ["was unfinished when this file was written", "were done. The file does not change."]
    : ["is unfinished", "are done. Grey stretches may still come."]
  at("unfinished").textContent = waiting
    .map(({ name, unfinished }) => `${name} ${is}: ${unfinished} ${grey}`)
    .join(" ")
  return waiting.length > 0
}

// A table that is being made: what has come is shown within about ten seconds.
async function lookAgain(before) {
  const state = (config) => JSON.stringify(config.tables.map(({ unfinished }) => unfinished))
  forget()
  const config = await ask("config").catch(() => before)
  if (state(config) !== state(before)) {
    const waits = tellUnfinished(config.tables)
    await page.view.refresh()
    await page.sites?.update(page.view.where())
    if (!waits) return
  }
  setTimeout(lookAgain, LOOK_AGAIN, config)
}

// Which tracks are wanted: of keys such as "scores 0 +", each word can be switched.
function switches({ tables, variants }) {
  const both = tables.length > 1
  const all = [
    ["+", "+ strand", true],
    ["-", "− strand", true],
    ["introns", "introns", true],
    ...tables.flatMap(({ tissues }, k) =>
      tissues.length ? [[`usage ${k}`, both ? `usage ${"AB"[k]}` : "usage", k === 0]] : [],
    ),
    ["bases", "bases", true],
    ...(variants ? [["variants", "variants", true]] : []),
  ]
  page.wanted = new Map(all.map(([key, , on]) => [key, on]))
  const boxes = all.map(([key, name, on]) => {
    const box = element("input", { type: "checkbox", checked: on, name: key })
    box.addEventListener("change", () => {
      page.wanted.set(key, box.checked)
      page.view.show(wanted)
    })
    return element("label", {}, box, name)
  })
  at("switches").replaceChildren(...boxes)
}

function wanted(key) {
  const [kind, table, strand] = key.split(" ")
  const side = kind === "introns" ? table : strand
  const named = kind === "usage" ? `usage ${table}` : kind
  return (page.wanted.get(named) ?? true) && (side === undefined || page.wanted.get(side))
}

function popup(event, title, rows) {
  const list = rows.map(([name, value]) =>
    element("tr", {}, element("th", { textContent: name }), element("td", { textContent: value })),
  )
  const box = at("popup")
  box.replaceChildren(element("h3", { textContent: title }), element("table", {}, ...list))
  box.hidden = false
  const { width, height } = box.getBoundingClientRect()
  box.style.left = `${Math.max(4, Math.min(event.clientX + 12, innerWidth - width - 12))}px`
  box.style.top = `${Math.max(4, Math.min(event.clientY + 12, innerHeight - height - 12))}px`
}

function closeAll() {
  at("popup").hidden = true
  at("help").close()
}

function about(pos) {
  const { chrom } = page.view.where()
  return { chrom, start: Math.max(0, pos - 1 - SITE_VIEW / 2), end: pos + SITE_VIEW / 2 }
}

// A step to the next site keeps the zoom.
function step(direction) {
  const pos = page.sites?.next(direction)
  if (!pos) return
  const { chrom, start, end } = page.view.where()
  const half = Math.round((end - start) / 2)
  go({ chrom, start: Math.max(0, pos - 1 - half), end: pos - 1 + half })
}

function wholeContig() {
  const { chrom } = page.view.where()
  return ONE_FILE ? ONE_FILE.region : { chrom, start: 0, end: page.view.length(chrom) }
}

const KEYS = {
  ArrowLeft: (event) => page.view.pan(event.shiftKey ? -0.9 : -0.25),
  ArrowRight: (event) => page.view.pan(event.shiftKey ? 0.9 : 0.25),
  "+": () => page.view.zoom(0.5),
  "=": () => page.view.zoom(0.5),
  "-": () => page.view.zoom(2),
  n: () => step(1),
  p: () => step(-1),
  w: () => go(wholeContig()),
  "/": () => at("search").focus(),
  "?": () => at("help").showModal(),
  Escape: closeAll,
}

function listen(title) {
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input:not([type=checkbox]), select, textarea")
    if (typing || event.ctrlKey || event.metaKey || event.altKey || !KEYS[event.key]) return
    if (event.key === "Escape" || !at("help").open) {
      event.preventDefault()
      KEYS[event.key](event)
    }
  })
  addEventListener("popstate", async () => {
    const place = await placeOf(fromHash(location.hash)).catch(() => null)
    if (place) page.view.go(place)
  })
  addEventListener("mousedown", (event) => at("popup").contains(event.target) || (at("popup").hidden = true))
  const actions = {
    in: () => page.view.zoom(0.5),
    out: () => page.view.zoom(2),
    left: () => page.view.pan(-0.5),
    right: () => page.view.pan(0.5),
  }
  Object.assign(actions, {
    svg: () => saveSVG(page.view, title),
    png: () => savePNG(page.view, title),
    keys: () => at("help").showModal(),
  })
  actions.again = () => page.view.refresh().then(settled)
  for (const [id, act] of Object.entries(actions)) at(id).addEventListener("click", act)
  at("close-help").addEventListener("click", () => at("help").close())
  at("tracks").addEventListener("wheel", wheel, { passive: false })
}

// Sideways wheels move, a wheel with Ctrl (which is what pinching gives) zooms about the pointer.
function wheel(event) {
  const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY) ? event.deltaX : event.shiftKey ? event.deltaY : 0
  if (!event.ctrlKey && !sideways) return
  event.preventDefault()
  if (page.wheeling) return
  page.wheeling = true
  const done = event.ctrlKey
    ? page.view.zoom(event.deltaY > 0 ? 1.25 : 0.8, page.view.baseAt(event.clientX))
    : page.view.pan(sideways / 1000)
  done.finally(() => (page.wheeling = false))
}

function contigs({ contigs: names }) {
  const options = names.map(([name, length]) =>
    element("option", { value: name, textContent: `${name} (${bases(length)})` }),
  )
  at("contig").replaceChildren(...options)
  at("contig").disabled = Boolean(ONE_FILE)
  at("contig").addEventListener("change", () => {
    const [chrom, length] = names.find(([name]) => name === at("contig").value)
    at("contig").blur()
    go({ chrom, start: 0, end: length })
  })
}

function sitesOf(config) {
  at("sites-part").hidden = !config.tables.length
  if (!config.tables.length) return
  page.sites = new SitesTable(at("sites"), at("sites-note"), config, {
    least: () => page.least,
    choose: (site) => go(about(site.pos)),
  })
  const which = at("sites-of")
  which.hidden = config.tables.length < 2
  which.replaceChildren(
    ...config.tables.map(({ name }, k) => element("option", { value: k, textContent: `${"AB"[k]}: ${name}` })),
  )
  which.addEventListener("change", () => {
    page.sites.of = Number(which.value)
    page.sites.update(page.view.where())
  })
  const least = at("least")
  least.min = Math.max(...config.tables.map((table) => table.sites_threshold))
  page.least = Math.max(LEAST, Number(least.min))
  least.value = page.least
  least.addEventListener("change", async () => {
    page.least = Math.min(1, Math.max(Number(least.min), Number(least.value) || LEAST))
    least.value = page.least
    await page.view.refresh()
    await page.sites.update(page.view.where())
  })
}

async function main() {
  onTrouble(tellTrouble)
  onPopup(popup)
  onVariant((key) => fillVariant(at("variant"), key).then(() => at("variant").scrollIntoView({ block: "nearest" })))
  const config = await ask("config")
  tellOf(config)
  contigs(config)
  switches(config)
  sitesOf(config)
  page.box = new SearchBox(at("search"), at("suggestions"), { go, say })
  const place = await firstPlace(config)
  page.view = await View.open(at("tracks"), config, place, () => ({ least: page.least }))
  page.view.onMove(moved)
  await page.view.show(wanted)
  listen(config.tables.map(({ name }) => shortName(name)).join("-") || "variants")
  await settled()
  if (config.tables.some(({ unfinished }) => unfinished) && !ONE_FILE) setTimeout(lookAgain, LOOK_AGAIN, config)
  window.sptx = page
  document.body.dataset.ready = "yes"
}

main().catch((error) => {
  console.error(error)
  onTrouble(() => {})
  tellTrouble(`The page cannot be shown: ${error.message}`)
  at("again").hidden = true
  document.body.dataset.ready = "no"
})
