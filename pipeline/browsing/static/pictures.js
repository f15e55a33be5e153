// The tracks in view as a picture, saved by the browser: SVG as igv.js draws it, or PNG made of that.

import { element } from "./text.js"

const SCALE = 2 // pixels of the PNG for one of the page

function save(blob, name) {
  const address = URL.createObjectURL(blob)
  element("a", { href: address, download: name }).click()
  setTimeout(() => URL.revokeObjectURL(address), 10_000)
}

function nameOf(title, { chrom, start, end }, kind) {
  return `${title}-${chrom}-${start + 1}-${end}.${kind}`.replace(/[^\w.*+-]/g, "_")
}

export function saveSVG(view, title) {
  save(new Blob([view.browser.toSVG()], { type: "image/svg+xml" }), nameOf(title, view.where(), "svg"))
}

export async function savePNG(view, title) {
  const { width, height } = view.browser.columnContainer.getBoundingClientRect()
  const drawing = new Blob([view.browser.toSVG()], { type: "image/svg+xml" })
  const address = URL.createObjectURL(drawing)
  const picture = element("img")
  picture.src = address
  await picture.decode()
  const canvas = element("canvas", { width: Math.round(width * SCALE), height: Math.round(height * SCALE) })
  const context = canvas.getContext("2d")
  context.fillStyle = "#ffffff"
  context.fillRect(0, 0, canvas.width, canvas.height)
  context.scale(SCALE, SCALE)
  context.drawImage(picture, 0, 0)
  URL.revokeObjectURL(address)
  canvas.toBlob((blob) => save(blob, nameOf(title, view.where(), "png")), "image/png")
}
