# The gateway in an image. Build: docker build -t sluice .
# Run: docker run -p 8080:8080 -v "$PWD/gateway.yaml:/etc/sluice/gateway.yaml:ro" sluice

FROM node:26-slim AS build
WORKDIR /build
COPY package.json package-lock.json ./
COPY toolchain/package.json toolchain/
RUN npm install --no-save --no-audit --no-fund --ignore-scripts
COPY tsconfig.json ./
COPY toolchain toolchain
COPY src src
COPY plugins plugins
COPY routes routes
RUN node toolchain/build.js

FROM node:26-slim AS dependencies
WORKDIR /build
COPY package.json package-lock.json ./
COPY toolchain/package.json toolchain/
# The image has its own Node: that of the toolchain is an optional dependency.
RUN npm install --no-save --no-audit --no-fund --omit=dev --omit=optional --ignore-scripts

FROM node:26-slim
ENV NODE_ENV=production
WORKDIR /opt/sluice
COPY --from=dependencies /build/node_modules node_modules
COPY --from=build /build/dist dist
COPY package.json ./
COPY bin/sluice.js bin/sluice.js
COPY config/gateway.yaml config/demo-backends.js config/
COPY config/gateway.yaml config/demo-backends.js /etc/sluice/
USER node
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s \
  CMD ["node", "-e", "fetch('http://127.0.0.1:9090/readyz').then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "bin/sluice.js"]
CMD ["run", "--config", "/etc/sluice/gateway.yaml"]
