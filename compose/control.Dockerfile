# Topology, allocator, gateway, the command line, and simulated nodes. No network is needed but for Debian's packages: the wheels come with
# the build context, see compose/images.
ARG BASE=debian:bookworm-slim
FROM $BASE AS python
RUN apt-get update -q \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends python3 \
 && rm -rf /var/lib/apt/lists/*

FROM python AS build
COPY wheelhouse /wheelhouse
RUN python3 -m venv --without-pip /opt/brickyard \
 && /opt/brickyard/bin/python "$(ls /wheelhouse/pip-*.whl)/pip" install -q --no-cache-dir --no-index \
    --find-links /wheelhouse 'brickyard[agent,control,gateway]'

FROM python
# Volumes take the owner of the directory that they are mounted on.
RUN groupadd -g 10001 brickyard && useradd -u 10001 -g 10001 -M -d /var/lib/brickyard -s /usr/sbin/nologin brickyard \
 && for name in authority state tls/topology tls/allocator tls/gateway tls/operator tls/agent1 join/agent1 join/agent2 join/agent3; do \
      mkdir -p /var/lib/brickyard/$name; done \
 && chown -R brickyard:brickyard /var/lib/brickyard && chmod -R go-rwx /var/lib/brickyard
COPY --from=build /opt/brickyard /opt/brickyard
COPY identities /usr/local/bin/brickyard-identities
COPY tokens /usr/local/bin/brickyard-tokens
ENV PATH=/opt/brickyard/bin:/usr/local/bin:/usr/bin:/bin PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /var/lib/brickyard
