/**
 * Who looks, and how often: all who look in the same rhythm share one computation and its text, and while nobody looks
 * nothing is computed.
 */
import { Feed, type FeedSights } from './feed.ts'
import type { Figures } from './figures.ts'

/** Rhythms may be this quick and this slow. */
export const SHORTEST_MS = 250
export const LONGEST_MS = 60_000
/**
 * The rhythms that there are. A look at 2000 backends takes some 5 ms: with a rhythm of its own for everybody, those who
 * look could together take all the time that there is.
 */
const RHYTHMS_MS = [SHORTEST_MS, 500, 1000, 2000, 5000, 10_000, 30_000, LONGEST_MS] as const

interface Rhythm {
  readonly feed: Feed
  readonly listeners: Set<(text: string) => void>
  readonly timer: NodeJS.Timeout
}

export class Feeds {
  readonly #figures: Figures
  readonly #sights: FeedSights
  readonly #rhythms = new Map<number, Rhythm>()

  constructor(figures: Figures, sights: FeedSights) {
    this.#figures = figures
    this.#sights = sights
  }

  /** How many rhythms there are. */
  get size(): number {
    return this.#rhythms.size
  }

  /**
   * @param askedMs the next quicker rhythm is taken where there is none like it
   * @param listener told all there is at once, then what is new
   * @returns ends it
   */
  listen(askedMs: number, listener: (text: string) => void): () => void {
    const everyMs = RHYTHMS_MS.findLast((ms) => ms <= askedMs) ?? SHORTEST_MS
    const rhythm = this.#rhythms.get(everyMs) ?? this.#begin(everyMs)
    rhythm.listeners.add(listener)
    listener(rhythm.feed.welcome)
    return () => {
      rhythm.listeners.delete(listener)
      if (rhythm.listeners.size > 0 || this.#rhythms.get(everyMs) !== rhythm) return
      clearInterval(rhythm.timer)
      this.#rhythms.delete(everyMs)
    }
  }

  #begin(everyMs: number): Rhythm {
    const feed = new Feed(this.#figures, this.#sights)
    const listeners = new Set<(text: string) => void>()
    feed.next(performance.now())
    const timer = setInterval(() => {
      const text = feed.next(performance.now())
      for (const listener of listeners) listener(text)
    }, everyMs)
    const rhythm = { feed, listeners, timer }
    this.#rhythms.set(everyMs, rhythm)
    return rhythm
  }
}
