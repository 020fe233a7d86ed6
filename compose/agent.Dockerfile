# The agent of a storage node, with LVM, XFS and glusterd. It is root, and needs --privileged and the host's /dev.
ARG BASE=debian:bookworm-slim
FROM $BASE AS python
RUN apt-get update -q \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
    python3 lvm2 thin-provisioning-tools xfsprogs util-linux glusterfs-server \
 && rm -rf /var/lib/apt/lists/*

FROM python AS build
COPY wheelhouse /wheelhouse
RUN python3 -m venv --without-pip /opt/brickyard \
 && /opt/brickyard/bin/python "$(ls /wheelhouse/pip-*.whl)/pip" install -q --no-cache-dir --no-index \
    --find-links /wheelhouse 'brickyard[agent]'

FROM python
COPY --from=build /opt/brickyard /opt/brickyard
COPY agent-entrypoint /usr/local/bin/agent-entrypoint
ENV PATH=/opt/brickyard/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# udevd is the host's; libdm would wait for it in vain.
ENV DM_DISABLE_UDEV=1
VOLUME /var/lib/brickyard /var/lib/glusterd
EXPOSE 7410 24007
ENTRYPOINT ["agent-entrypoint"]
