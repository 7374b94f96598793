# The command in an image of its own: docker build -t wsmux . && docker run --rm wsmux --help

FROM node:22-bookworm-slim AS build
WORKDIR /build
COPY package.json package-lock.json tsconfig.json LICENSE ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY src src
RUN npm run build:unchecked

# This image has no shell and no package manager, and its user is not root.
FROM gcr.io/distroless/nodejs22-debian12:nonroot
WORKDIR /wsmux
COPY --from=build /build/package.json /build/LICENSE ./
COPY --from=build /build/dist/cli dist/cli
ENV NODE_DISABLE_COMPILE_CACHE=1
USER nonroot
ENTRYPOINT ["/nodejs/bin/node", "/wsmux/dist/cli/bin.js"]
CMD ["--help"]
