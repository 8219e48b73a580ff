/**
 * Small curves of the last two minutes. All series share one ring of places, so that a look costs one write a number.
 */

/** As many as there are looks in two minutes. */
export const PLACES = 120
const WIDTH = 120
const HEIGHT = 30
/** So that the thickness of a line is not cut off. */
const MARGIN = 2

/** Where in the ring the latest look is. */
export class Timeline {
  place = 0

  /**
   * @param {Iterable<Series>} all of what has been looked at
   * @param {number} looks how many have passed, those that nobody saw included
   */
  advance(all, looks) {
    const missed = Math.min(PLACES, Math.max(0, looks - 1))
    if (missed > 0) for (const series of all) for (let n = 1; n <= missed; n++) series[(this.place + n) % PLACES] = NaN
    this.place = (this.place + missed + 1) % PLACES
  }
}

/** @typedef {Float32Array} Series */

/** @returns {Series} */
export function emptySeries() {
  return new Float32Array(PLACES).fill(NaN)
}

/** @param {Series} series */
export function highest(series) {
  let top = 0
  for (let place = 0; place < PLACES; place++) {
    const value = series[place] ?? NaN
    if (value > top) top = value
  }
  return top
}

/**
 * What all but a few of the numbers are below: one outlier would press all others flat.
 *
 * @param {Series} series
 */
export function usuallyBelow(series) {
  const known = series.filter((value) => !Number.isNaN(value)).toSorted()
  return (known[Math.floor(known.length * 0.96)] ?? 0) * 1.15
}

/**
 * What was last known, unless that is long ago.
 *
 * @param {Series} series
 * @param {number} place
 */
export function latest(series, place) {
  for (let back = 0; back < 5; back++) {
    const value = series[(place - back + PLACES) % PLACES] ?? NaN
    if (!Number.isNaN(value)) return value
  }
  return NaN
}

/** Lines on common axes. */
export class Curve {
  /** @type {SVGSVGElement} */
  node
  /** @type {SVGPathElement[]} */
  #lines

  /** @param {readonly string[]} classes of each line; those called `area` are filled */
  constructor(classes) {
    this.node = document.createElementNS('http://www.w3.org/2000/svg', 'svg')
    this.node.setAttribute('viewBox', `0 0 ${WIDTH} ${HEIGHT}`)
    this.node.setAttribute('preserveAspectRatio', 'none')
    this.node.setAttribute('class', 'curve')
    // The numbers beside it say the same.
    this.node.setAttribute('aria-hidden', 'true')
    this.#lines = classes.map((name) => {
      const line = document.createElementNS('http://www.w3.org/2000/svg', 'path')
      line.setAttribute('class', name)
      this.node.append(line)
      return line
    })
  }

  /**
   * @param {readonly Series[]} series
   * @param {number} place
   * @param {number} top of the axis
   */
  draw(series, place, top) {
    for (const [index, line] of this.#lines.entries()) {
      const values = series[index]
      if (values !== undefined) line.setAttribute('d', pathOf(values, place, top, line.classList.contains('area')))
    }
  }
}

/**
 * @param {Series} values
 * @param {number} place
 * @param {number} top
 * @param {boolean} filled
 */
function pathOf(values, place, top, filled) {
  let path = ''
  let from = -1
  for (let n = 0; n <= PLACES; n++) {
    const value = n === PLACES ? NaN : (values[(place + 1 + n) % PLACES] ?? NaN)
    if (Number.isNaN(value)) {
      if (from >= 0) path += filled ? `L${xOf(n - 1)} ${HEIGHT}L${xOf(from)} ${HEIGHT}Z` : n - 1 === from ? 'h.1' : ''
      from = -1
    } else {
      path += `${from < 0 ? 'M' : 'L'}${xOf(n)} ${yOf(value, top)}`
      if (from < 0) from = n
    }
  }
  return path
}

/** @param {number} n */
function xOf(n) {
  return Math.round((n * WIDTH * 10) / (PLACES - 1)) / 10
}

/**
 * @param {number} value
 * @param {number} top
 */
function yOf(value, top) {
  const high = top > 0 ? Math.min(1, value / top) : 0
  return Math.round((HEIGHT - MARGIN - high * (HEIGHT - 2 * MARGIN)) * 10) / 10
}
