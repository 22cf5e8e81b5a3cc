# The worker's image.
#
#   docker compose build worker                                        compiles in the Rust image
#   BINARY_FROM=prebuilt docker compose build worker                   takes target/release/longshore as it is,
#                                                                      or WORKER_BINARY
#
# Stages that are not used are not built, so the second needs no Rust image (and no registry, where
# debian:bookworm-slim is there). Needs BuildKit, as `docker compose build` always uses.

ARG BINARY_FROM=compiled

FROM rust:1-slim-bookworm AS compiled
# `dev` compiles several times faster; cargo keeps that profile's programs in `debug`.
ARG PROFILE=release
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --profile "$PROFILE" --locked --bin longshore \
 && install -D "target/$(echo "$PROFILE" | sed 's/^dev$/debug/')/longshore" /out/longshore

FROM scratch AS prebuilt
ARG BINARY=target/release/longshore
COPY ${BINARY} /out/longshore

FROM ${BINARY_FROM} AS binary

FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin
COPY deploy/worker-health.sh /usr/local/bin/worker-health
COPY --from=binary /out/longshore /usr/local/bin/longshore
# A volume that is mounted there for the first time takes the owner over.
RUN useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin longshore \
 && install -d -o longshore -g longshore /var/spool/longshore

# Health is served to the container alone; whoever publishes the port sets HTTP_LISTEN and HTTP_TOKEN.
ENV LOG_FORMAT=json LOG_SPOOL_DIR=/var/spool/longshore
# By number, so that whoever runs it can see that it is not root. It needs the group of the engine's
# socket besides, and TEMP_DIR has to be its own.
USER 10001:10001
EXPOSE 8080
HEALTHCHECK --interval=3s --timeout=5s --start-period=30s --retries=5 CMD ["worker-health"]
ENTRYPOINT ["longshore"]
CMD ["worker"]
