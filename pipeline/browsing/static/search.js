// The box for places: it shows where the view is, suggests genes as one types, and goes where one says.

import { ask } from "./data.js"
import { element, region } from "./text.js"

const PAUSE = 120 // ms without a key before suggestions are asked for
const FLANK = 0.04 // of a gene's length, left free on each side

function flanked({ chrom, start, end, kind }) {
  if (kind !== "gene" && kind !== "transcript") return { chrom, start, end }
  const side = Math.ceil((end - start) * FLANK)
  return { chrom, start: Math.max(0, start - side), end: end + side }
}

// The place that a text names, or null.
export async function placeOf(text) {
  const { loci } = await ask("find", { q: text })
  const wanted = text.trim().toLowerCase()
  const exact = loci.find(({ name }) => name.toLowerCase() === wanted)
  return loci.length ? flanked(exact ?? loci[0]) : null
}

export class SearchBox {
  // `go(place)` moves the view, `say(sentence)` tells what is not found.
  constructor(input, list, { go, say }) {
    Object.assign(this, { input, list, go, say, chosen: -1, loci: [], asked: 0 })
    input.addEventListener("input", () => {
      this.chosen = -1
      say("")
      clearTimeout(this.timer)
      this.timer = setTimeout(() => this.suggest(), PAUSE)
    })
    input.addEventListener("focus", () => input.select())
    input.addEventListener("blur", () => this.close())
    input.addEventListener("keydown", (event) => this.key(event))
  }

  showPlace(place) {
    this.place = place
    if (document.activeElement !== this.input) this.input.value = region(place)
  }

  async suggest() {
    const text = this.input.value.trim()
    const asked = (this.asked += 1)
    const { loci } = text ? await ask("find", { q: text }).catch(() => ({ loci: [] })) : { loci: [] }
    if (asked !== this.asked || document.activeElement !== this.input) return
    this.loci = loci
    this.chosen = -1
    this.list.replaceChildren(...loci.map((locus, k) => this.option(locus, k)))
    this.list.hidden = !loci.length
    this.input.setAttribute("aria-expanded", String(loci.length > 0))
  }

  option(locus, k) {
    const name = element("b", { textContent: locus.name })
    const where = element("span", {
      textContent: `${locus.kind} ${region(locus)}${locus.strand ? ` (${locus.strand})` : ""}`,
    })
    const option = element("li", { id: `option-${k}`, role: "option" }, name, where)
    option.addEventListener("mousedown", (event) => {
      event.preventDefault() // the box keeps the focus until the click is done
      this.accept(locus)
    })
    return option
  }

  key(event) {
    if (event.key === "Enter") this.enter()
    else if (event.key === "Escape") this.leave()
    else if (event.key === "ArrowDown") this.choose(this.chosen + 1)
    else if (event.key === "ArrowUp") this.choose(this.chosen - 1)
    else return
    event.preventDefault()
    event.stopPropagation()
  }

  choose(k) {
    if (!this.loci.length) return
    this.chosen = (k + this.loci.length) % this.loci.length
    const options = [...this.list.children]
    options.forEach((option, at) => option.setAttribute("aria-selected", String(at === this.chosen)))
    options[this.chosen].scrollIntoView({ block: "nearest" })
    this.input.setAttribute("aria-activedescendant", `option-${this.chosen}`)
  }

  async enter() {
    clearTimeout(this.timer)
    const text = this.input.value.trim()
    if (!text) return this.leave()
    if (this.chosen >= 0) return this.accept(this.loci[this.chosen])
    const place = await placeOf(text).catch(() => undefined)
    if (place) {
      this.leave()
      this.go(place)
    } else if (place === null) {
      this.say(`Nothing here is called ${text}. Give a gene, a transcript, or a region such as ${region(this.place)}.`)
    }
  }

  accept(locus) {
    this.leave()
    this.go(flanked(locus))
  }

  leave() {
    this.input.blur()
    if (this.place) this.input.value = region(this.place)
  }

  close() {
    this.asked += 1
    this.chosen = -1
    this.list.hidden = true
    this.input.setAttribute("aria-expanded", "false")
    if (this.place) this.input.value = region(this.place)
  }
}
