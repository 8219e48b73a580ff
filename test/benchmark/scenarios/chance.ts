/**
 * What is left to chance, the same in every run with the same seed. What a request costs depends on its number alone:
 * whichever proxy and backend it goes through, it asks for the same work.
 */
import { seededRandom } from '../../../src/testing/random.ts'
import type { Plan } from './plan.ts'

// Two numbers without a relation, so that two draws for the same request have none either.
const SERVICE = 0x51ed270b
const FAILURE = 0x2545f491

function exponential(uniform: number, mean: number): number {
  return -Math.log(1 - uniform) * mean
}

function drawFor(seed: number, purpose: number, request: number): number {
  return seededRandom(Math.imul(seed, 0x9e3779b1) ^ purpose ^ request)()
}

/** When each request arrives, in ms from the start of the warm-up: a Poisson process. */
export function arrivals({ seed, ratePerSecond, warmupMs, loadMs }: Plan): number[] {
  const random = seededRandom(seed)
  const times: number[] = []
  let at = exponential(random(), 1000 / ratePerSecond)
  while (at < warmupMs + loadMs) {
    times.push(at)
    at += exponential(random(), 1000 / ratePerSecond)
  }
  return times
}

export function serviceTime(seed: number, request: number, meanMs: number): number {
  return exponential(drawFor(seed, SERVICE, request), meanMs)
}

/** Whether a request is among the `share` of them that a failing backend cannot answer. */
export function fails(seed: number, request: number, share: number): boolean {
  return share > 0 && drawFor(seed, FAILURE, request) < share
}
