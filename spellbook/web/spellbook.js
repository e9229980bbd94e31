// The page: lists the spells, changes them, and shows of every answer where it came from and how long it took.
// What comes from the server is only ever set as text or as a value, never as markup.

const KEPT_ANSWERS = 40

const byId = id => document.getElementById(id)
const answers = byId('answers')

/** A copy of a template's content, and its parts by name. */
function stamp(name) {
  const root = byId(name).content.firstElementChild.cloneNode(true)
  const parts = {}
  for (const part of root.querySelectorAll('[data-part]')) parts[part.dataset.part] = part
  return { root, parts }
}

/** Sends a request, shows what came of it, and returns it; `undefined` if nothing came at all. */
async function ask(method, path, body) {
  const began = performance.now()
  const options = { method }
  if (body !== undefined) {
    options.body = JSON.stringify(body)
    options.headers = { 'content-type': 'application/json' }
  }
  try {
    const response = await fetch(path, options)
    const text = await response.text()
    const ms = performance.now() - began
    const value = text === '' ? undefined : JSON.parse(text)
    show({
      method,
      path,
      ms,
      status: response.status,
      headers: response.headers,
      detail: detailOf(response, value),
    })
    return { ok: response.ok, headers: response.headers, value }
  } catch (error) {
    show({
      method,
      path,
      ms: performance.now() - began,
      status: 0,
      headers: new Headers(),
      detail: error.message,
    })
    return undefined
  }
}

/** What a problem says, and of which part. */
function detailOf(response, value) {
  if (response.ok) return ''
  const flaws = (value?.errors ?? []).map(flaw => `${flaw.pointer ?? flaw.parameter} ${flaw.detail}`)
  return [value?.detail, ...flaws].join(' ')
}

/** `hit` is an answer of the cache; any other Cache-Status means that the database was asked. */
function sourceOf(headers) {
  const status = headers.get('cache-status')
  if (status === null) return { source: '', title: '' }
  const hit = status.split(';').some(part => part.trim() === 'hit')
  return { source: hit ? 'cache' : 'database', title: status }
}

function show({ method, path, ms, status, headers, detail }) {
  const { root, parts } = stamp('answer')
  const { source, title } = sourceOf(headers)
  const server = /total;dur=([\d.]+)/.exec(headers.get('server-timing') ?? '')?.[1]
  parts.request.textContent = `${method} ${path}`
  parts.status.textContent = status === 0 ? 'no answer' : String(status)
  parts.status.classList.toggle('bad', status === 0 || status >= 400)
  parts.source.textContent = source
  parts.source.title = title
  if (source !== '') parts.source.classList.add(source)
  parts.time.textContent = `${ms.toFixed(1)} ms${server === undefined ? '' : ` (${Number(server).toFixed(1)})`}`
  // A logarithmic bar: 0.1 ms is nothing, a second is all of it.
  parts.length.style.setProperty('--share', String(Math.min(1, Math.max(0.02, (Math.log10(ms) + 1) / 4))))
  if (source !== '') parts.length.classList.add(source)
  parts.detail.textContent = detail
  answers.prepend(root)
  while (answers.children.length > KEPT_ANSWERS) answers.lastElementChild.remove()
}

/** A list that is shown page by page, from `first` on: `suffix` ends the ids of its buttons. */
function listOf(first, rows, empty, suffix, rowOf) {
  let page = first
  /** Only the answer to the newest question about the list is shown. */
  let newest = 0
  const read = async (path = page) => {
    const turn = ++newest
    const answer = await ask('GET', path)
    if (turn !== newest || answer === undefined || !answer.ok) return
    page = path
    const next = /<([^>]+)>; rel="next"/.exec(answer.headers.get('link') ?? '')?.[1]
    byId(`next${suffix}`).disabled = next === undefined
    byId(`next${suffix}`).onclick = () => read(next)
    byId(`first${suffix}`).disabled = page === first
    empty.hidden = answer.value.length > 0
    rows.replaceChildren(...answer.value.map(rowOf))
  }
  byId(`reload${suffix}`).onclick = () => read()
  byId(`first${suffix}`).onclick = () => read(first)
  return read
}

const readSpells = listOf('/spells', byId('spells'), byId('empty'), '', spellRow)
const readWizards = listOf('/wizards', byId('wizards'), byId('no-wizards'), '-wizards', wizardRow)

function spellRow(spell) {
  const { root, parts } = stamp('spell')
  const path = `/spells/${spell.id}`
  parts.id.textContent = spell.id
  parts.name.textContent = spell.name
  parts.damage.value = spell.damage
  parts.damage.setAttribute('aria-label', `Damage of ${spell.name}`)
  parts.read.onclick = async () => {
    const answer = await ask('GET', path)
    if (!answer?.ok) return
    parts.name.textContent = answer.value.name
    parts.damage.value = answer.value.damage
  }
  parts.change.onclick = async () => {
    if (!parts.damage.reportValidity()) return
    await ask('PUT', path, { damage: parts.damage.valueAsNumber })
    await readSpells()
  }
  parts.delete.onclick = async () => {
    await ask('DELETE', path)
    await readSpells()
  }
  return root
}

function wizardRow(wizard) {
  const { root, parts } = stamp('wizard')
  const path = `/wizards/${wizard.id}`
  parts.id.textContent = wizard.id
  parts.name.value = wizard.name
  parts.name.setAttribute('aria-label', `Name of wizard ${wizard.id}`)
  parts.open.onclick = () => readBook(path)
  parts.change.onclick = async () => {
    if (!parts.name.reportValidity()) return
    await ask('PUT', path, { name: parts.name.value })
    await readWizards()
    if (book === path) await readBook(path)
  }
  parts.delete.onclick = async () => {
    await ask('DELETE', path)
    await readWizards()
    if (book === path) await readBook(path)
  }
  return root
}

/** The wizard whose book is open. */
let book

async function readBook(path) {
  book = path
  const answer = await ask('GET', path)
  if (answer === undefined || book !== path) return
  byId('book').hidden = !answer.ok
  if (!answer.ok) return
  const { name, spells } = answer.value
  byId('book-title').textContent = `The book of ${name}`
  byId('book-spells').replaceChildren(...spells.map(spell => inBook(path, spell)))
}

function inBook(path, { id, name, damage }) {
  const { root, parts } = stamp('in-book')
  parts.name.textContent = `${name}, ${damage}`
  parts.remove.onclick = async () => {
    await ask('DELETE', `${path}/spells/${id}`)
    await readBook(path)
  }
  return root
}

byId('create').onsubmit = async event => {
  event.preventDefault()
  const { name, damage } = event.target.elements
  const answer = await ask('POST', '/spells', { name: name.value, damage: damage.valueAsNumber })
  if (answer?.ok) name.value = ''
  await readSpells()
}

byId('create-wizard').onsubmit = async event => {
  event.preventDefault()
  const { name } = event.target.elements
  const answer = await ask('POST', '/wizards', { name: name.value })
  if (answer?.ok) name.value = ''
  await readWizards()
}

byId('reload-book').onclick = () => readBook(book)

byId('add-to-book').onsubmit = async event => {
  event.preventDefault()
  await ask('PUT', `${book}/spells/${encodeURIComponent(event.target.elements.id.value)}`)
  await readBook(book)
}

byId('look-up').onsubmit = async event => {
  event.preventDefault()
  await ask('GET', `/spells/${encodeURIComponent(event.target.elements.id.value)}`)
}

readSpells()
readWizards()
