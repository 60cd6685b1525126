# The agent server as an image: docker build --tag insula .
#
# It needs the folder /var/lib/insula to write to, and nothing else. The first start prints a key on standard error.

FROM rust:1.95-bookworm AS build
WORKDIR /source
COPY . .
# What was compiled before is kept between builds, beside the image.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    cargo build --release --locked --package insula-app \
    && cp target/release/insula /insula

FROM debian:bookworm-slim
# Certificates of others are checked by these: webhooks, issuers of tokens, collectors of traces.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm --recursive --force /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home --home-dir /var/lib/insula --shell /usr/sbin/nologin insula \
    && install --directory --owner=10001 --group=10001 --mode=0700 /var/lib/insula
COPY --from=build /insula /usr/local/bin/insula

# Not a flag, so that `docker exec … insula runs` looks at the same place.
ENV INSULA_DATA_DIR=/var/lib/insula
USER 10001
WORKDIR /var/lib/insula
VOLUME /var/lib/insula
EXPOSE 8080
# It drains: runs that do not end within the grace time are handed over to the next process.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/insula"]
CMD ["serve", "--listen", "0.0.0.0:8080"]
