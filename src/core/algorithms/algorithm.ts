/**
 * What an algorithm is. An algorithm sees candidates and, if it asks for it, the request; it never sees health (the
 * pool hands it only what may be chosen) and cannot return anything but one of the candidates: `pick` is generic in the
 * candidate's type, so an invented backend does not compile.
 */
import type { Backend } from '../backend.ts'
import type { Clock, Random } from '../clock.ts'

/** What an algorithm may know of the request it picks a backend for. */
export interface RequestInfo {
  readonly method: string
  /** The path as the client sent it, without the query. */
  readonly path: string
  /** What the client sent behind the path, from the question mark on; '' when there is none. */
  readonly query: string
  /** The client's address: the peer's, or the one a trusted proxy vouches for. */
  readonly ip: string
  /** The first value of a header field, by its lower-case name. */
  header(name: string): string | undefined
}

/** What a pick would come to, and why: for operators, never for clients. */
export interface Explanation<B extends Backend = Backend> {
  /** Whom the next pick takes; undefined where that is left to chance. */
  readonly picks: B | undefined
  /** How it chooses, in a sentence. */
  readonly how: string
  /** What it compares the candidates by, if it does; who does not take part has none. */
  readonly scores?: ReadonlyMap<B, number> | undefined
  /** What a score is, and which of them is better. */
  readonly scoreMeans?: string | undefined
  /** What is particular about single candidates. */
  readonly notes?: ReadonlyMap<B, string> | undefined
}

export interface Algorithm {
  /**
   * Picks one of `candidates`, which is never empty, is frozen, and is the same array for as long as the set of
   * candidates and their weights stay the same: derive what a pick needs once per array, not once per pick.
   *
   * `tried` are those that this request has been to already; at its first attempt there is none. Where another one is
   * just as good, it need not be looked at: whoever is picked and has been tried is not taken, but asked for again, with
   * a list of the others.
   */
  pick<B extends Backend>(candidates: readonly B[], request: RequestInfo, tried?: ReadonlySet<Backend>): B
  /** Told after each attempt how long the backend took to its response head, and how it went. */
  learn?(backend: Backend, responseMs: number, verdict: 'success' | 'failure'): void
  /**
   * Told after each attempt has ended, and the backend has one less in flight: for an algorithm that keeps its candidates
   * in an order of load. Who hands picks on to another algorithm hands this on as well.
   */
  released?(backend: Backend): void
  /**
   * What `pick` would do now with the same arguments. It changes nothing: no turn is taken and no number drawn, so that
   * all picks after it are what they would have been without it.
   */
  explain?<B extends Backend>(candidates: readonly B[], request: RequestInfo): Explanation<B>
}

export interface AlgorithmDependencies {
  readonly clock: Clock
  readonly random: Random
}

/** Makes an algorithm for one pool. Throws when the options make no sense. */
export type AlgorithmFactory<Options = unknown> = (options: Options, deps: AlgorithmDependencies) => Algorithm
