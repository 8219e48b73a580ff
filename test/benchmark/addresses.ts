/** Many addresses of this machine: all of 127.0.0.0/8 is, on Linux. */
export function addresses(network: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${network}.${(index + 1) >> 8}.${(index + 1) & 255}`)
}
