const ports: number[] = []
if (ports.length === 0) throw new Error('no ports\nand a second line')
export default {}
