# tailrace in a container: no root, nothing written but the volume, one process. docs/how-to/container.md tells how to run it.
#   docker build -t tailrace .
# The same packages at each build: requirements.lock pins all of them with their hashes.
ARG BASE=docker.io/library/python:3.11.13-slim-bookworm

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN python3 -m venv /build && python3 -m venv --without-pip /opt/tailrace
COPY requirements.lock requirements-dev.lock /src/
# The build tool comes from the developers' lock, and stays behind in this stage.
RUN sed -n '/^setuptools==/,/[^\\]$/p' /src/requirements-dev.lock > /build/tool.lock \
    && /build/bin/pip install --quiet --require-hashes -r /build/tool.lock \
    && /build/bin/pip --python /opt/tailrace/bin/python3 install --quiet --no-compile --require-hashes --only-binary :all: -r /src/requirements.lock
COPY . /src
# Bytecode without times in it: two builds of one commit are the same.
RUN /build/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /build/wheel /src \
    && /build/bin/pip --python /opt/tailrace/bin/python3 install --quiet --no-compile --no-deps --no-index /build/wheel/*.whl \
    && /opt/tailrace/bin/python3 -m compileall -q -f --invalidation-mode unchecked-hash /opt/tailrace/lib \
    && mkdir /state /config

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="tailrace" \
      org.opencontainers.image.description="Ships logs from files to Loki, JSONL archives and Prometheus, exactly once." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV PATH=/opt/tailrace/bin:/usr/local/bin:/usr/bin:/bin PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
COPY --from=build /opt/tailrace /opt/tailrace
COPY --from=build /config /etc/tailrace
COPY --from=build --chown=10001:10001 /state /var/lib/tailrace
# A number, for Kubernetes' runAsNonRoot cannot read a name.
USER 10001:10001
# Relative paths of a config (`state`, archives) lie in the volume.
WORKDIR /var/lib/tailrace
VOLUME /var/lib/tailrace
EXPOSE 9464
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python3", "-I", "-S", "-c", "import http.client as http; it = http.HTTPConnection('127.0.0.1', 9464, timeout=4); it.request('GET', '/-/healthy'); raise SystemExit(it.getresponse().status != 200)"]
ENTRYPOINT ["tailrace"]
CMD ["run", "/etc/tailrace/tailrace.yaml"]
