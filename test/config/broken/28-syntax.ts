export default {
  pools: { web },,
}
