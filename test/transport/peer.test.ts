/**
 * Who a client is, with and without trusted proxies in between.
 */
import { connect, createServer, type Socket } from 'node:net'
import { once } from 'node:events'
import { IncomingMessage } from 'node:http'

import { test, type Test } from 'tap'

import { Peers } from '../../src/transport/peer.ts'
import { inTurn, portOf } from '../helpers/raw.ts'

/** The gateway's end of a connection from 127.0.0.1, over IPv4 or in an IPv6 coat. */
async function accepted(t: Test, host: string): Promise<IncomingMessage> {
  const server = createServer()
  server.listen(0, host)
  await once(server, 'listening')
  const client = connect(portOf(server), '127.0.0.1')
  const socket = await new Promise<Socket>((resolve) => void server.once('connection', resolve))
  t.teardown(() => {
    client.destroy()
    socket.destroy()
    server.close()
  })
  return new IncomingMessage(socket)
}

void test('a peer is known by its address, without the IPv4-in-IPv6 prefix', async (t) => {
  await inTurn(['127.0.0.1', '::'], async (host) => {
    const request = await accepted(t, host)
    t.same(new Peers([]).of(request), { ip: '127.0.0.1', trusted: false, waiting: 0 })
    t.same(new Peers(['127.0.0.1']).of(request), { ip: '127.0.0.1', trusted: true, waiting: 0 })
    t.same(new Peers(['::1', '127.0.0.0/8']).of(request), { ip: '127.0.0.1', trusted: true, waiting: 0 })
    t.same(new Peers(['10.0.0.0/8', 'fe80::/10']).of(request), { ip: '127.0.0.1', trusted: false, waiting: 0 })
    const peers = new Peers([])
    t.equal(peers.of(request), peers.of(request), 'worked out once')
  })
})

void test('the client behind trusted proxies', async (t) => {
  const peers = new Peers(['10.0.0.0/8', '2001:db8::/32'])
  const proxy = { ip: '10.0.0.1', trusted: true, waiting: 0 }
  const cases: Array<readonly [string | undefined, string]> = [
    [undefined, '10.0.0.1'],
    ['1.2.3.4', '1.2.3.4'],
    ['6.6.6.6, 1.2.3.4, 10.0.0.2', '1.2.3.4'],
    ['10.0.0.3, 10.0.0.2', '10.0.0.3'],
    ['1.2.3.4, 2001:db8::7', '1.2.3.4'],
    ['2001:db9::7, 10.0.0.2', '2001:db9::7'],
    ['::ffff:1.2.3.4', '1.2.3.4'],
    ['junk', '10.0.0.1'],
    ['1.2.3.4, junk, 10.0.0.2', '10.0.0.2'],
    ['', '10.0.0.1'],
    [' , ', '10.0.0.1'],
    ['  1.2.3.4\t', '1.2.3.4'],
    ['1.2.3.4:80', '10.0.0.1'],
  ]
  await inTurn(cases, async ([chain, client]) => t.equal(peers.clientOf(proxy, chain), client, chain ?? 'none'))
  t.equal(peers.clientOf({ ip: '9.9.9.9', trusted: false, waiting: 0 }, '1.2.3.4'), '9.9.9.9')
})
