// A page like youtube-dl-webui's: Vue and vue-resource, in jsdom, drive a node's task API.
//
// Usage: node tasks.mjs URL
//
// Reads commands until standard input ends, as lines of JSON: [METHOD OF THE PAGE, ...ARGUMENTS].
// Prints what the page shows, whenever that changes, and what went wrong, as lines of JSON.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'
import { JSDOM, VirtualConsole } from 'jsdom'

const POLL = 3000
const STATES = ['downloading', 'finished', 'paused', 'invalid']
const [base] = process.argv.slice(2)
const say = (what, value) => process.stdout.write(JSON.stringify([what, value]) + '\n')

const log = new VirtualConsole()
log.on('error', (...said) => say('wrong', said.map(String).join(' ')))
log.on('jsdomError', error => say('wrong', error.stack))

const page = `<!doctype html>
<div id="page">
  <p id="counters">{{ all }}<i v-for="state in states"> {{ counters[state] }}</i></p>
  <ul id="list">
    <li v-for="(task, index) in tasks" @click="select(index)"
      ><i>{{ task.state }}</i><i>{{ task.title }}</i><i>{{ size(task.total_bytes) }}</i
      ><i :style="{width: task.percent}">{{ task.percent }}</i
      ><i>{{ size(task.speed) }}</i><i>{{ task.eta % 60 }}s</i></li>
  </ul>
  <dl id="details">
    <template v-for="name in shown"><dt>{{ name }}</dt><dd>{{ details[name] }}</dd></template>
    <dd id="description" v-html="details.description"></dd>
    <dd id="created">{{ date(details.create_time) }}</dd>
    <dd id="finished">{{ date(details.finish_time) }}</dd>
  </dl>
  <ol id="log">
    <li v-for="line in details.log"
      ><i>{{ date(line.time) }}</i><i>{{ line.type }}</i><i>{{ line.msg }}</i></li>
  </ol>
  <form id="preferences">
    <input v-for="name in ['download_dir', 'db_path', 'log_size']"
      v-model="preferences.general[name]">
    <input v-for="name in ['format', 'proxy']" v-model="preferences.youtube_dl[name]">
  </form>
  <p id="message">{{ message }}</p>
</div>`

const { window } = new JSDOM(page, {
  url: base + '/',
  runScripts: 'outside-only',
  virtualConsole: log
})
const require = createRequire(import.meta.url)
for (const script of ['vue/dist/vue.min.js', 'vue-resource/dist/vue-resource.min.js']) {
  window.eval(readFileSync(require.resolve(script), 'utf8'))
}
const { Vue } = window
Vue.config.errorHandler = error => say('wrong', error.stack)

const texts = (selector, inside = window.document) =>
  [...inside.querySelectorAll(selector)].map(element => element.textContent)

// As that page does: replies are parsed here, and only a status of 2xx is one.
const http = (method, path, ...body) => Vue.http[method](base + path, ...body)
  .then(reply => JSON.parse(reply.body))

const vm = new Vue({
  el: '#page',
  data: {
    tasks: [],
    counters: {},
    states: STATES,
    filter: 'all',
    details: {},
    shown: ['title', 'url', 'ext', 'format', 'filename', 'duration', 'view_count', 'like_count',
      'dislike_count', 'average_rating', 'thumbnail'],
    selected: null,
    preferences: { general: {}, youtube_dl: {} },
    message: ''
  },
  computed: {
    all () {
      return STATES.reduce((sum, state) => sum + this.counters[state], 0)
    }
  },
  mounted () {
    this.list()
    setInterval(() => { this.list(); this.status() }, POLL)
  },
  updated () {
    this.show()
  },
  methods: {
    show () {
      const rows = [...window.document.querySelectorAll('#list li')]
      say('page', {
        counters: texts('#counters')[0].trim().split(/\s+/),
        list: rows.map(row => texts('i', row)),
        bars: rows.map(row => row.children[3].style.width),
        details: Object.fromEntries(this.shown.map((name, at) =>
          [name, texts('#details dd')[at]])),
        description: texts('#description')[0],
        dates: texts('#created, #finished'),
        log: [...window.document.querySelectorAll('#log li')].map(row => texts('i', row)),
        preferences: [...window.document.querySelectorAll('#preferences input')]
          .map(input => input.value),
        message: this.message
      })
    },
    size: value => value.toFixed(2) + ' B',
    date: seconds => seconds > 10 ? new Date(seconds * 1000).toISOString() : '',
    lost () {
      this.message = 'connection lost'
    },
    changed (reply) {
      this.message = reply.errmsg || reply.status
      return this.list()
    },
    list () {
      return http('get', '/task/list?state=' + this.filter).then(reply => {
        this.tasks = reply.detail
        this.counters = reply.state_counter
      }, this.lost)
    },
    status () {
      if (this.selected) {
        return http('get', `/task/tid/${this.selected}/status`).then(reply => {
          if (reply.status !== 'error') this.details = reply.detail
        }, this.lost)
      }
    },
    look (filter) {
      this.filter = filter
      return this.list()
    },
    select (index) {
      this.selected = this.tasks[index].tid
      return this.status()
    },
    add (url, options) {
      return http('post', '/task', { url, ydl_opts: options }, { emulateJSON: false })
        .then(this.changed, this.lost)
    },
    act (index, what) {
      return http('put', `/task/tid/${this.tasks[index].tid}?act=${what}`)
        .then(this.changed, this.lost)
    },
    remove (index, withFile) {
      const query = withFile ? '?del_file=true' : ''
      return http('delete', `/task/tid/${this.tasks[index].tid}${query}`)
        .then(this.changed, this.lost)
    },
    ask () {
      return http('get', '/config').then(reply => {
        const { general, youtube_dl: options } = reply.config
        const { download_dir, db_path, log_size } = general
        this.preferences = {
          general: { download_dir, db_path, log_size },
          youtube_dl: { fomart: '', format: options.format, proxy: options.proxy }
        }
      }, this.lost)
    },
    prefer (name, value) {
      this.preferences.general[name] = value
      return http('post', '/config', this.preferences, { emulateJSON: false })
        .then(this.changed, this.lost)
    }
  }
})

for await (const line of createInterface({ input: process.stdin })) {
  const [method, ...options] = JSON.parse(line)
  await vm[method](...options)
}
process.exit(0)
