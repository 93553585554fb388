// Announces one torrent with bittorrent-tracker's client until standard input ends, and prints
// what it hears as lines of JSON.
//
// Usage: node announce.mjs TRACKER INFOHASH PORT LEFT
import Client from 'bittorrent-tracker/client'

const [announce, infoHash, port, left] = process.argv.slice(2)
const say = (what, value) => process.stdout.write(JSON.stringify([what, value]) + '\n')

const client = new Client({
  announce,
  infoHash,
  peerId: Buffer.from('-TS0001-' + port.padStart(12, '0')),
  port: Number(port),
  getAnnounceOpts: () => ({ left: Number(left) })
})
client.on('peer', address => say('peer', address))
client.on('update', ({ complete, incomplete }) => say('update', { complete, incomplete }))
client.on('scrape', ({ complete, incomplete, downloaded }) =>
  say('scrape', { complete, incomplete, downloaded }))
client.on('warning', error => say('warning', error.message))
client.on('error', error => say('error', error.message))

client.start()
process.stdin.on('end', () => {
  client.stop()
  client.destroy(() => process.exit(0))
}).resume()
