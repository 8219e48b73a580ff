/** What the proxies show clients that come by TLS: the certificate of the tests, for localhost. */
import { fileURLToPath } from 'node:url'

const file = (name: string) => fileURLToPath(new URL(`../helpers/certificates/${name}`, import.meta.url))

export const CA_FILE = file('ca.pem')
export const CERTIFICATE_FILE = file('server.pem')
export const KEY_FILE = file('server.key')
