// Colours of the page. Acceptor and donor are of the palette of Okabe and Ito, usage is viridis, introns go from amber
// to navy: each pair or scale can be told apart by the colour-blind.

export const KIND = { acceptor: "#0072b2", donor: "#d55e00" }
export const KINDS = ["acceptor", "donor"]
export const NOT_COMPUTED = "#e3e6ea"
export const NO_SCORE = "#9aa3ad"
export const INK = {
  text: "#1c2733",
  soft: "#5b6875",
  line: "#c9d0d7",
  warn: "#8a5a00",
  mane: "#1d3557",
  other: "#7d8a98",
}
export const BASES = { A: "#00805c", C: "#0059a8", G: "#a06a00", T: "#a8326f" }

const USAGE = [
  [68, 1, 84],
  [72, 40, 120],
  [62, 74, 137],
  [49, 104, 142],
  [38, 130, 142],
  [31, 158, 137],
  [53, 183, 121],
  [109, 205, 89],
  [180, 222, 44],
  [253, 231, 37],
]
const INTRON = [
  [217, 154, 40],
  [150, 140, 120],
  [29, 53, 120],
]

function between(stops, value) {
  const at = Math.min(1, Math.max(0, value)) * (stops.length - 1)
  const low = Math.min(stops.length - 2, Math.floor(at))
  const mixed = stops[low].map((from, k) => Math.round(from + (stops[low + 1][k] - from) * (at - low)))
  return `rgb(${mixed.join(",")})`
}

export function usageColour(value) {
  return between(USAGE, value)
}

export function intronColour(score) {
  return score === null ? NO_SCORE : between(INTRON, score)
}

// Dark text on light colours of the usage scale, white on dark ones.
export function textOnUsage(value) {
  return value > 0.55 ? "#1c2733" : "#ffffff"
}
