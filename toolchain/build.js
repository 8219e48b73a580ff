// Builds what is published: dist/ with plain JavaScript and its types, made anew from src, plugins and routes. Node
// strips the types from a user's own files, but refuses to below node_modules. What browsers get is taken as it is.
import { spawnSync } from 'node:child_process'
import { copyFileSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const compiler = fileURLToPath(new URL('bin/tsc', import.meta.resolve('typescript/package.json')))

rmSync(`${root}dist`, { recursive: true, force: true })
const project = ['--project', `${root}toolchain/tsconfig.build.json`]
const built = spawnSync(process.execPath, [compiler, ...project], { stdio: 'inherit' })
if (built.status !== 0) process.exit(built.status ?? 1)

// The compiler gives imports in JavaScript the name of the file that is there, but not those in declarations.
for (const file of globSync('dist/**/*.d.ts', { cwd: root })) {
  const text = readFileSync(root + file, 'utf8')
  writeFileSync(root + file, text.replaceAll(/((?:from|import|import\()\s*['"]\.[^'"\n]*)\.ts(?=['"])/g, '$1.js'))
}

mkdirSync(`${root}dist/routes/dashboard`)
for (const file of globSync('routes/dashboard/*.{html,css,js}', { cwd: root })) {
  copyFileSync(root + file, `${root}dist/${file}`)
}
