export default async () => {
  throw new TypeError('not today')
}
