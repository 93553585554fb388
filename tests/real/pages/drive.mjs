// Drives a node through each API, the way its users do: adds a download, follows it to its end,
// stops it and goes on, looks, reads a part of the file, and removes it.
import { INFOHASH, MAGNET, NODE, ask, find, listen, rpc, until } from './page.mjs'

async function downloads() {
  const path = `/downloads/${INFOHASH}`
  const heard = await listen('/events', ['torrent_status_changed', 'torrent_finished'])
  const added = await ask('PUT', '/downloads', { uri: MAGNET })
  await until(() => heard.some(([name]) => name === 'torrent_finished'))
  const finished = heard.find(([name]) => name === 'torrent_finished')[1]
  const statuses = new Set(heard.map(([, event]) => event.status).filter(Boolean))
  const status = async () => (await ask('GET', path)).download.status
  await ask('PATCH', path, { state: 'stop' })
  const stopped = await status()
  await ask('PATCH', path, { state: 'resume' })
  await until(async () => (await status()) === 'DLSTATUS_SEEDING')
  const { downloads: listed } = await ask('GET', '/downloads?get_files=1')
  const part = await fetch(`${NODE}${path}/stream/0`, { headers: { Range: 'bytes=1000-1999' } })
  return {
    added,
    finished,
    statuses: [...statuses],
    stopped,
    listed: listed.map((each) => [each.infohash, each.files.map((file) => file.name)]),
    part: [part.status, [...new Uint8Array(await part.arrayBuffer())]],
    removed: await ask('DELETE', path, { remove_data: true }),
    left: (await ask('GET', '/downloads')).downloads,
  }
}

const limit = (ratelimit) => ask('POST', '/config', { youtube_dl: { ratelimit } })

async function tasks() {
  await limit(100000)
  const { tid } = await ask('POST', '/task', { url: 'film.mp4' })
  const paused = await ask('PUT', `/task/tid/${tid}?act=pause`)
  const { detail: listed } = await ask('GET', '/task/list?state=paused')
  await limit(0)
  const resumed = await ask('PUT', `/task/tid/${tid}?act=resume`)
  const status = async () => (await ask('GET', `/task/tid/${tid}/status`)).detail
  await until(async () => (await status()).state === 'finished')
  const { title, percent, log } = await status()
  return {
    paused,
    listed: listed.map((task) => [task.tid === tid, task.state]),
    resumed,
    finished: [title, percent, log.length > 0],
    removed: await ask('POST', '/task/batch/delete', { tids: [tid], del_file: true }),
    left: (await ask('GET', '/task/list')).state_counter,
  }
}

async function jsonRpc(directory) {
  const names = ['torrent_added', 'torrent_paused', 'torrent_resumed', 'torrent_removed']
  const heard = await listen('/api/v1/events', ['state_update', ...names])
  const info_hash = [INFOHASH, null]
  const added = await rpc('torrents.add', { magnet_uri: MAGNET, save_path: directory })
  const progress = async () => (await rpc('torrents.list')).torrents[0].progress
  for (let updates = 0; (await progress()) < 1; ) {
    updates = await until(() => heard.length > updates && heard.length)
  }
  await rpc('torrents.pause', { info_hash })
  const { torrents: listed } = await rpc('torrents.list', { filters: { query: 'is:paused' } })
  await rpc('torrents.resume', { info_hash })
  await rpc('torrents.remove', { info_hashes: [info_hash], remove_data: true })
  await until(() => heard.some(([name]) => name === 'torrent_removed'))
  return {
    added,
    listed: listed.map((torrent) => [torrent.name, torrent.progress, torrent.size]),
    heard: heard.map(([name]) => name).filter((name) => names.includes(name)),
    left: (await rpc('torrents.list')).torrents_total,
  }
}

find(async () => {
  const found = { downloads: await downloads(), tasks: await tasks() }
  const { config } = await ask('GET', '/config')
  return { ...found, jsonRpc: await jsonRpc(config.general.download_dir) }
})
