# syntax=docker/dockerfile:1
# pgheadroom, from the versions of uv.lock. BASE_IMAGE is any Debian with Python 3.11 or later and its venv module, the same in
# both stages: releases give it by digest, and a machine without a registry gives one of its own.
ARG BASE_IMAGE=docker.io/library/python:3.13-slim-trixie

FROM ${BASE_IMAGE} AS build
# The version that uv.lock names.
ARG UV_VERSION=0.13.8
# What belongs to a server in the cloud; `demo` brings servers of its own and is left out.
ARG EXTRAS="--extra aws"
ENV PYTHONDONTWRITEBYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_NO_CACHE=1 \
    UV_PYTHON_DOWNLOADS=never \
    UV_SYSTEM_CERTS=true
WORKDIR /src
RUN python3 -m venv /uv && /uv/bin/pip install --no-cache-dir "uv==${UV_VERSION}"
COPY pyproject.toml uv.lock ./
# First what seldom changes, by the hashes of the lock and from wheels alone, so that nothing is compiled.
# hadolint ignore=SC2086
RUN /uv/bin/uv export --quiet --frozen --no-dev --no-emit-project ${EXTRAS} --output-file /requirements.txt \
    && /uv/bin/uv venv --python "$(command -v python3)" /opt/pgheadroom \
    && /uv/bin/uv pip install --python /opt/pgheadroom/bin/python --require-hashes --only-binary :all: -r /requirements.txt
COPY README.md LICENSE ./
COPY alerts alerts
COPY exporter exporter
RUN /uv/bin/uv build --wheel --out-dir /wheels \
    && /uv/bin/uv pip install --python /opt/pgheadroom/bin/python --no-deps /wheels/*.whl \
    && /opt/pgheadroom/bin/python -m compileall -q /opt/pgheadroom/lib

FROM ${BASE_IMAGE}
ARG BASE_IMAGE
ARG VERSION=0.1.0
ARG REVISION=""
ARG CREATED=""
LABEL org.opencontainers.image.title="pgheadroom" \
      org.opencontainers.image.description="Pages before Postgres runs out of connections, and says who is eating them." \
      org.opencontainers.image.url="https://github.com/pgheadroom/pgheadroom" \
      org.opencontainers.image.source="https://github.com/pgheadroom/pgheadroom" \
      org.opencontainers.image.documentation="https://github.com/pgheadroom/pgheadroom/tree/main/docs" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.base.name="${BASE_IMAGE}"
# Nobody installs anything here: what could is taken out.
RUN rm -rf /usr/local/lib/python3*/site-packages/pip* /usr/local/lib/python3*/site-packages/setuptools* \
        /usr/local/lib/python3*/ensurepip /usr/lib/python3*/ensurepip /usr/share/python-wheels \
        /usr/local/bin/pip* /usr/local/bin/idle* \
    && mkdir -p /etc/pgheadroom /var/lib/pgheadroom \
    && chown 65532:65532 /var/lib/pgheadroom
COPY --from=build /opt/pgheadroom /opt/pgheadroom
ENV PATH=/opt/pgheadroom/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# A base without a library that a wheel needs (libstdc++6, which apt brings) fails here, and not at the start.
RUN ["/opt/pgheadroom/bin/python", "-c", "import exporter.app"]
# By number, so that Kubernetes sees that it is not root.
USER 65532:65532
WORKDIR /var/lib/pgheadroom
EXPOSE 9970
# Nothing between: signals reach the process, which handles them.
ENTRYPOINT ["pgheadroom"]
CMD ["run", "--config", "/etc/pgheadroom/config/pgheadroom.yaml"]
