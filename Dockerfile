# One image with both programs: aserve, its default command, and abench. The target fleet has dask as
# well, for a scheduler and its nodes.
ARG BASE_IMAGE=python:3.13-slim-trixie

FROM ${BASE_IMAGE} AS builder
WORKDIR /src
ENV PIP_CONSTRAINT=/src/constraints.txt PIP_BUILD_CONSTRAINT=/src/constraints.txt
# A virtual environment holds absolute paths, so it is made at the path where it will run. It needs
# no pip of its own: the base image's installs into it and stays behind in this stage.
RUN python3 -m venv --without-pip /opt/venv
# Dependencies apart from our code: this layer is made again when they change and not with each line.
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
# A banner or a log line must be seen when it is printed and not when a buffer is full.
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1
# By number: so an orchestrator sees that it is not root, and nothing has to exist in /etc/passwd.
USER 10001:10001
EXPOSE 8000
# http.client asks this server even where the container was given a proxy, and the image needs no curl.
# Whatever it answers, it is healthy: a folder without an index.html has nothing at /, and that is a 404.
# Often at the start, so that what waits for this server does not wait longer than it must.
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
