/** Agents that watch an application put their functions in the place of Node's before it is loaded. */
import { test } from 'tap'

import { backend, startGateway } from '../helpers/process.ts'

const AGENT = `
import { ServerResponse } from 'node:http'
const { writeHead } = ServerResponse.prototype
ServerResponse.prototype.writeHead = function (...args) {
  console.log('agent:' + JSON.stringify(args))
  return writeHead.apply(this, args)
}`

void test('who was in the place of writeHead before the gateway was loaded sees what is written', async (t) => {
  const url = await backend(t, (_request, answer) => void answer.writeHead(200, { 'x-a': 1 }).end('here'))
  const config = { pools: { web: { backends: [url] } }, log: { access: false } }
  const flags = ['--import', `data:text/javascript,${encodeURIComponent(AGENT)}`]
  const gateway = await startGateway(t, JSON.stringify(config), { plain: true, flags })
  const answer = await fetch(gateway.url)
  t.equal(await answer.text(), 'here')
  t.ok(gateway.process.lines.some((line) => line.startsWith('agent:[200,') && line.includes('"x-a","1"')))
})
