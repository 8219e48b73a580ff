/**
 * What a page can do to have its visitor's browser call something; runs in the page.
 */
/** @returns what came of each way of calling the target */
globalThis.attack = async (target) => [
  await fetched(`${target}?no-cors`, { mode: 'no-cors' }),
  await fetched(`${target}?no-cors`, { mode: 'no-cors', method: 'POST', body: '{}' }),
  await fetched(`${target}?cors`, {}),
  await fetched(`${target}?cors`, { method: 'POST', body: '{}' }),
  await fetched(`${target}?cors`, { method: 'PATCH', body: '{}', headers: { 'content-type': 'application/json' } }),
  await loaded('img', `${target}?image`),
  await loaded('script', `${target}?script`),
  await opened(new EventSource(`${target}?events`)),
  await opened(new WebSocket(`${target.replace('http', 'ws')}?socket`)),
  await posted(`${target}?form`),
  navigator.sendBeacon(`${target}?beacon`, 'x') ? 'sent' : 'refused',
  await loaded('iframe', `${target}?frame`),
]

async function fetched(url, options) {
  try {
    const { type } = await fetch(url, options)
    return type
  } catch {
    return 'refused'
  }
}

async function loaded(tag, url) {
  return await new Promise((resolve) => {
    const element = document.createElement(tag)
    element.addEventListener('load', () => resolve('loaded'))
    element.addEventListener('error', () => resolve('refused'))
    element.src = url
    document.body.append(element)
  })
}

async function opened(source) {
  return await new Promise((resolve) => {
    source.addEventListener('open', () => resolve('opened'))
    source.addEventListener('error', () => resolve('refused'))
  })
}

async function posted(url) {
  return await new Promise((resolve) => {
    const frame = document.createElement('iframe')
    frame.name = url
    document.body.append(frame)
    frame.addEventListener('load', () => resolve('posted'))
    globalThis.post(url, frame.name)
  })
}

/** Sends a form. */
globalThis.post = (url, into = '_self') => {
  const form = document.createElement('form')
  Object.assign(form, { method: 'post', action: url, target: into })
  document.body.append(form)
  form.submit()
}
