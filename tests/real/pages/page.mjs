// What all pages share: which node they are about, and how they tell what they found.
export const given = new URLSearchParams(location.search)

export const NODE = given.get('node') ?? location.origin
export const INFOHASH = given.get('infohash')
export const MAGNET = `magnet:?xt=urn:btih:${INFOHASH}`

export async function find(look) {
  let found
  try {
    found = await look()
  } catch (error) {
    found = { wrong: String(error.stack ?? error) }
  }
  await fetch('/findings', { method: 'POST', body: JSON.stringify(found) })
}

export const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds))

// What a call gives once it gives anything that is true.
export async function until(call) {
  for (;;) {
    const given = await call()
    if (given) return given
    await sleep(50)
  }
}

// The answer to a request, as JSON; `body` is sent as JSON too.
export async function ask(method, path, body) {
  const text = body === undefined ? undefined : JSON.stringify(body)
  return (await fetch(NODE + path, { method, body: text })).json()
}

export async function rpc(method, params) {
  const answer = await ask('POST', '/api/v1/jsonrpc', { jsonrpc: '2.0', id: 1, method, params })
  if (answer.error) throw new Error(JSON.stringify(answer.error))
  return answer.result
}

// The events of a stream by their names, [name, data] each, from when it is open.
export async function listen(path, names) {
  const source = new EventSource(NODE + path)
  const heard = []
  for (const name of names) {
    source.addEventListener(name, (event) => heard.push([name, JSON.parse(event.data)]))
  }
  await new Promise((resolve, reject) => {
    source.onopen = resolve
    source.onerror = () => reject(new Error(`no events from ${path}`))
  })
  return heard
}
