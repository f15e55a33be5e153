// Numbers and names as people read them. Positions here are 1-based and inclusive; in the code they are 0-based,
// half-open.

export function count(number) {
  return Math.round(number).toLocaleString("en-US")
}

// "1 site", "2,000 sites".
export function counted(number, noun) {
  return `${count(number)} ${noun}${number === 1 ? "" : "s"}`
}

export function region(place) {
  return `${place.chrom}:${count(place.start + 1)}-${count(place.end)}`
}

export function bases(number) {
  if (number < 1000) return `${count(number)} bp`
  const [size, unit] = number < 1e6 ? [number / 1e3, "kb"] : [number / 1e6, "Mb"]
  return `${size < 10 ? size.toFixed(1) : count(size)} ${unit}`
}

export function tissueName(name) {
  return name.replace(/_tissue$/, "").replaceAll("_", " ")
}

// The last part of a table's place: what a person calls the table.
export function shortName(place) {
  return place.replace(/\/+$/, "").split("/").pop() || place
}

export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties)
  made.append(...children)
  return made
}

// Text that fits a width on a canvas, cut at its end.
export function fitted(context, text, width) {
  if (context.measureText(text).width <= width) return text
  let kept = text.length
  while (kept > 1 && context.measureText(`${text.slice(0, kept)}…`).width > width) kept -= 1
  return `${text.slice(0, kept)}…`
}

// `#chr9:214,854-465,259` and back. A contig's name may hold colons, so the last one counts.
export function fromHash(hash) {
  try {
    return decodeURIComponent(hash.replace(/^#/, ""))
  } catch {
    return ""
  }
}

export function toHash(place) {
  return `#${encodeURIComponent(place.chrom)}:${Math.floor(place.start) + 1}-${Math.round(place.end)}`
}
