# quantd without a GPU. `./run image` builds it; by hand: ./run deps && docker build -t quantd .
# BASE must be a Debian 12 or an Ubuntu 24.04; the packages' names follow from it.
ARG BASE=docker.io/library/debian:12-slim

FROM ${BASE} AS build
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      binutils cmake g++ libabsl-dev libcli11-dev libgrpc++-dev libgrpc-dev libpng-dev \
      libprotobuf-dev libre2-dev libspdlog-dev libtomlplusplus-dev ninja-build nlohmann-json3-dev protobuf-compiler \
      protobuf-compiler-grpc && \
    rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
RUN cmake --preset release -D QUANTD_BUILD_TESTS=OFF && \
    cmake --build --preset release --target quantd quantctl && \
    strip build/bin/quantd build/bin/quantctl
# What the binaries are linked to, as packages of this release, so that the next stage installs these and nothing else.
RUN ldd build/bin/quantd build/bin/quantctl | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | sort -u | \
    xargs -n 1 realpath | sed 's,.*/,*/,' | xargs dpkg-query -S | cut -d: -f1 | sort -u > build/runtime-packages

FROM ${BASE}
RUN --mount=type=bind,from=build,source=/source/build,target=/build \
    apt-get update && \
    DEBIAN_FRONTEND=noninteractive xargs -a /build/runtime-packages apt-get install -y --no-install-recommends && \
    rm -rf /var/lib/apt/lists/*
COPY --from=build /source/build/bin/quantd /source/build/bin/quantctl /usr/local/bin/
ARG BASE
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="quantd" \
      org.opencontainers.image.description="Quantizes and dequantizes tensors of any size over gRPC" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE}"
RUN ["/usr/local/bin/quantd", "--version"]
# A number, so that Kubernetes can see that it is not root.
USER 65532:65532
EXPOSE 50051
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/quantd"]
CMD ["--listen=:50051"]
