# The worker's image.
#
#   docker compose build worker                                        compiles in the Rust image
#   BINARY_FROM=prebuilt docker compose build worker                   copies target/release/longshore,
#                                                                      or WORKER_BINARY
#
# Docker builds only the stages that are used. So the second command needs no Rust image, and no registry if
# debian:bookworm-slim is there. Needs BuildKit, which `docker compose build` always uses.

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
# A volume that is mounted here for the first time gets the owner of this directory.
RUN useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin longshore \
 && install -d -o longshore -g longshore /var/spool/longshore

# Health is served inside the container only. To publish the port, set HTTP_LISTEN and HTTP_TOKEN.
ENV LOG_FORMAT=json LOG_SPOOL_DIR=/var/spool/longshore
# A number shows a scheduler that the user is not root. The user must also be in the group of the engine's socket,
# and must own TEMP_DIR.
USER 10001:10001
EXPOSE 8080
HEALTHCHECK --interval=3s --timeout=5s --start-period=30s --retries=5 CMD ["worker-health"]
ENTRYPOINT ["longshore"]
CMD ["worker"]
