export default { pools: { web: { backends: ['http://127.0.0.1:1', 5n], bakends: () => 1 } }, log: new Map(), admin: { token: Symbol('x') } }
