// What the page asks, of the server or of the answers within a page of one file. Addresses are relative, so that the
// page works behind a proxy.

import { answerFrom } from "./embedded.js"

const held = document.getElementById("embedded")
export const ONE_FILE = held ? JSON.parse(held.textContent) : null
export const GONE = [
  "The server does not answer. It may have ended: start sptx browse again, then press “Try again”.",
  "What is shown may be incomplete.",
].join(" ")

const MAX_KEPT = 300
const kept = new Map()
let listener = () => {}

// `tell(sentence)` is called when an answer fails, and with "" when the next one arrives.
export function onTrouble(tell) {
  listener = tell
}

export function forget() {
  kept.clear()
}

export async function ask(question, parameters = {}) {
  if (ONE_FILE) return answerFrom(ONE_FILE, question, parameters)
  const address = `api/${question}?${new URLSearchParams(parameters)}`
  if (!kept.has(address)) {
    kept.set(address, answerTo(address))
    if (kept.size > MAX_KEPT) kept.delete(kept.keys().next().value)
  }
  try {
    return await kept.get(address)
  } catch (error) {
    kept.delete(address)
    throw error
  }
}

async function answerTo(address) {
  let reply
  try {
    reply = await fetch(address)
  } catch {
    listener(GONE)
    throw new Error(GONE)
  }
  const body = await reply.json().catch(() => ({ error: `${address} was answered with ${reply.status}` }))
  if (!reply.ok) {
    listener(body.error)
    throw new Error(body.error)
  }
  listener("")
  return body
}
