// The table of the sites in view: one row a site, with its usage in every tissue. A click on a row centres the base, a
// click on a head sorts.

import { KIND, textOnUsage, usageColour } from "./colours.js"
import { ask } from "./data.js"
import { count, counted, element, tissueName } from "./text.js"

const MAX_ROWS = 200
const NUMBERS = ["pos", "score", "tau", "nearest_distance"]

// What is shown of the columns of named sites: [head, columns it is made of, how].
const SHOWN = [
  { head: "position", by: "pos", of: (site) => count(site.pos) },
  { head: "strand", by: "strand", of: (site) => (site.strand === "-" ? "−" : "+") },
  { head: "site", by: "kind", of: (site) => site.kind },
  { head: "score", by: "score", of: (site) => fixed(site.score, 3) },
  { head: "motif", by: "motif", of: (site) => site.motif ?? "" },
  { head: "gene", by: "gene_names", of: (site) => joined(site.gene_names) || joined(site.gene_ids) },
  { head: "within", by: "within", of: (site) => within(site) },
  { head: "annotated", by: "annotated", of: (site) => (site.annotated ? "yes" : "novel") },
  { head: "nearest annotated", by: "nearest_distance", of: (site) => distance(site) },
  { head: "tau", by: "tau", of: (site) => fixed(site.tau, 2) },
]

function fixed(value, digits) {
  return value === null || value === undefined ? "" : value.toFixed(digits)
}

function joined(names) {
  return [...new Set((names ?? []).filter(Boolean))].join(", ")
}

function within(site) {
  const all = [...new Set(site.within ?? [])]
  return all.length > 1 ? `${all[0]}, … (${site.within.length})` : (all[0] ?? "")
}

function distance(site) {
  if (site.nearest_distance === null || site.nearest_distance === undefined) return ""
  return site.nearest_distance === 0
    ? ""
    : `${site.nearest_distance > 0 ? "+" : "−"}${count(Math.abs(site.nearest_distance))}`
}

function told(shown, more) {
  const sites = (number) => counted(number, "site")
  if (!more) return `${sites(shown)} in view.`
  if (!shown) return `${sites(more)} in view: zoom in to list them.`
  return `The ${sites(shown)} with the greatest scores of ${count(shown + more)} in view: zoom in to list the others.`
}

export class SitesTable {
  // `choose(site)` is called with a site that is clicked, `least()` gives the least score of a site.
  constructor(table, note, config, { least, choose }) {
    Object.assign(this, { table, note, config, least, choose })
    this.of = 0
    this.sort = { by: "pos", down: false }
    this.sites = []
    this.asked = 0
  }

  async update(place) {
    this.place = place
    const asked = (this.asked += 1)
    let answer
    try {
      const { chrom, start, end } = place
      answer = await ask("sites", { table: this.of, chrom, start, end, least: this.least(), most: MAX_ROWS })
    } catch {
      return // the page says why
    }
    if (asked !== this.asked) return // the view has moved on
    const { columns, rows, more } = answer
    this.columns = columns
    this.sites = rows.map((row) => Object.fromEntries(columns.map((name, k) => [name, row[k]])))
    this.note.textContent = told(rows.length, more)
    this.draw()
  }

  draw() {
    const { tissues } = this.config.tables[this.of]
    const columns = SHOWN.filter(({ by }) => (this.columns ?? []).includes(by) && (tissues.length || by !== "tau"))
    const heads = columns.map(({ head, by }) => this.head(head, by, NUMBERS.includes(by) ? "number" : ""))
    heads.push(...tissues.map((tissue) => this.head(tissueName(tissue), tissue, "tissue")))
    const body = element("tbody")
    for (const site of this.sorted()) body.append(this.row(site, columns, tissues))
    this.table.replaceChildren(element("thead", {}, element("tr", {}, ...heads)), body)
  }

  head(text, by, className) {
    const label = element("span", { textContent: text })
    const head = element(
      "th",
      { className, scope: "col" },
      element("button", { type: "button", title: `sort by ${text}` }, label),
    )
    if (this.sort.by === by) {
      head.setAttribute("aria-sort", this.sort.down ? "descending" : "ascending")
    }
    head.addEventListener("click", () => {
      this.sort = { by, down: this.sort.by === by ? !this.sort.down : className !== "" && by !== "pos" }
      this.draw()
    })
    return head
  }

  row(site, columns, tissues) {
    const row = element("tr", { tabIndex: 0 })
    for (const { by, of } of columns) {
      const text = of(site)
      const cell = element("td", { textContent: text, className: NUMBERS.includes(by) ? "number" : "" })
      if (by === "kind") cell.style.color = KIND[site.kind]
      if (by === "within" || by === "gene_names") cell.title = details(site)
      row.append(cell)
    }
    for (const tissue of tissues) {
      const value = site[tissue] ?? 0
      const cell = element("td", { textContent: value.toFixed(2).replace(/^0/, ""), className: "tissue" })
      Object.assign(cell.style, { background: usageColour(value), color: textOnUsage(value) })
      cell.title = `${tissueName(tissue)}: ${value}`
      row.append(cell)
    }
    const choose = () => this.choose(site)
    row.addEventListener("click", choose)
    row.addEventListener("keydown", (event) => event.key === "Enter" && choose())
    return row
  }

  sorted() {
    const { by, down } = this.sort
    const value = (site) => (Array.isArray(site[by]) ? joined(site[by]) : site[by])
    const order = (one, other) => {
      const [a, b] = [value(one), value(other)]
      if (a === b) return one.pos - other.pos
      if (a === null || a === undefined) return 1
      if (b === null || b === undefined) return -1
      return (a < b ? -1 : 1) * (down ? -1 : 1)
    }
    return [...this.sites].sort(order)
  }

  // The site next to the middle of the view, in the direction of `step` (1 or -1).
  next(step) {
    const middle = (this.place.start + this.place.end + 1) / 2
    const ahead = this.sites.map(({ pos }) => pos).filter((pos) => (pos - middle) * step > 0.5)
    return ahead.length ? (step > 0 ? Math.min(...ahead) : Math.max(...ahead)) : null
  }
}

function details(site) {
  return (site.transcripts ?? []).map((name, k) => `${name}: ${site.within?.[k] ?? ""}`).join("\n")
}
