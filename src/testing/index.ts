/**
 * What users may import from 'sluice/testing': the contract that every algorithm keeps, and time and chance for tests.
 */
export { algorithmContract, type ContractOptions, type ContractTest } from './algorithm-contract.ts'
export { seededRandom } from './random.ts'
export { VirtualClock } from './virtual-clock.ts'
