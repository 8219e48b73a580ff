/**
 * Puts a page together from its files: one document with its style and its script in it, and the policy that lets a
 * browser run just these. No build step: the files are what the browser gets, the modules one after the other.
 */
import { createHash } from 'node:crypto'

export interface Page {
  readonly html: string
  /** The value of Content-Security-Policy. */
  readonly policy: string
}

const IMPORT = /^import [^'\n]*(?:\{[^}]*\} from )?'\.\/([^'\n]+)'\n/gm
const DECLARED = /^(?:export )?(?:async )?(?:function\*?|class|const|let) (\w+)/gm

/**
 * @param html with an empty `<style>` and an empty `<script type="module">`
 * @param modules by file name; they import each other by `./NAME`, and all that `first` needs is taken
 * @throws when they do not fit together
 */
export function assemble(html: string, style: string, modules: ReadonlyMap<string, string>, first: string): Page {
  const script = joined(modules, first)
  return {
    html: filled(filled(html, 'style', '<style>', style), 'script', '<script type="module">', script),
    policy: policyOf(script, style),
  }
}

/** Every module once, after those that it imports. */
function joined(modules: ReadonlyMap<string, string>, first: string): string {
  const parts = new Map<string, string>()
  const begun = new Set<string>()
  const take = (name: string): void => {
    if (begun.has(name)) return
    begun.add(name)
    const source = modules.get(name)
    if (source === undefined) throw new Error(`There is no module ${name}`)
    for (const [, imported = ''] of source.matchAll(IMPORT)) take(imported)
    parts.set(name, source.replaceAll(IMPORT, '').replaceAll(/^export /gm, ''))
  }
  take(first)
  const script = `\n${[...parts.values()].join('\n')}`
  const names = Array.from(script.matchAll(DECLARED), ([, name]) => name)
  const twice = names.find((name, index) => names.indexOf(name) !== index)
  if (twice !== undefined) throw new Error(`Two modules of the page declare ${twice}: they share one scope`)
  return script
}

function filled(html: string, tag: string, opening: string, content: string): string {
  // What ends an element or begins a comment inside it (WHATWG HTML, section 13.1.2.6) would be taken for markup.
  if (new RegExp(`</${tag}|<!--`, 'i').test(content)) throw new Error(`The ${tag} of the page ends itself`)
  const parts = html.split(`${opening}</${tag}>`)
  if (parts.length !== 2) throw new Error(`The page needs one empty ${tag}`)
  return parts.join(`${opening}${content}</${tag}>`)
}

/**
 * Content Security Policy Level 3: this script and this style, calls to where the page came from, and nothing else, not
 * even if somebody managed to put markup into it. Text never becomes markup: there is no way to make trusted types.
 */
function policyOf(script: string, style: string): string {
  return [
    "default-src 'none'",
    `script-src ${hashOf(script)}`,
    `style-src ${hashOf(style)}`,
    "connect-src 'self'",
    // The icon.
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join('; ')
}

function hashOf(text: string): string {
  return `'sha256-${createHash('sha256').update(text).digest('base64')}'`
}
