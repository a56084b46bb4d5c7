# One image with both programs: aserve, the default command, and abench. The target fleet adds dask
# for a scheduler and its nodes.
ARG BASE_IMAGE=python:3.13-slim-trixie

FROM ${BASE_IMAGE} AS builder
WORKDIR /src
ENV PIP_CONSTRAINT=/src/constraints.txt PIP_BUILD_CONSTRAINT=/src/constraints.txt
# A virtual environment contains absolute paths, so it is created at the path where it will run. It
# needs no pip: the one of the base image installs into it, in this stage only.
RUN python3 -m venv --without-pip /opt/venv
# The dependencies have a layer of their own, which is rebuilt only when they change.
COPY pyproject.toml constraints.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" | \
    python3 -m pip --python /opt/venv/bin/python install -r /dev/stdin
COPY README.md LICENSE ./
COPY aserve aserve
COPY abench abench
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 -m pip --python /opt/venv/bin/python install --no-deps .

FROM ${BASE_IMAGE} AS both
COPY --from=builder /opt/venv /opt/venv
COPY www /srv/www
# Show the banner and log lines when they are printed, and not when a buffer is full.
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1
# A number shows an orchestrator that it is not root, and needs no entry in /etc/passwd.
USER 10001:10001
EXPOSE 8000
# http.client ignores the proxy settings of the container, and the image needs no curl. Any response
# is healthy: / of a directory without an index.html is 404. At the start the check runs often, so that
# services that depend on this server start soon.
HEALTHCHECK --interval=10s --timeout=3s --retries=3 --start-period=20s --start-interval=250ms \
    CMD ["python3", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8000, timeout=2); c.request('HEAD', '/'); c.getresponse()"]
CMD ["aserve", "/srv/www", "--host", "0.0.0.0", "--port", "8000"]

FROM builder AS fleet-builder
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']['fleet'], sep='\n')" | \
    python3 -m pip --python /opt/venv/bin/python install -r /dev/stdin

FROM both AS fleet
COPY --from=fleet-builder /opt/venv /opt/venv
ENV HOME=/tmp
HEALTHCHECK NONE

FROM both
