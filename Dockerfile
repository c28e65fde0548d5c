# The services of wedsync-success: worker, deliver, api, migrate. Not root, nothing to write to but /tmp.
#   docker build -t wedsync-success .
#   docker run --read-only --tmpfs /tmp -e SUCCESS_KAFKA=… wedsync-success worker --no-restart
# A build that must not change under you names the base by digest: docs/running.md says how.
# Traced services want OpenTelemetry: --build-arg EXTRA=traces
# Letters in more languages than these, in a folder of your own, want theirs: --build-arg LANGUAGES="de|en|fr"
ARG PYTHON=python:3.13.9-slim-bookworm
ARG LANGUAGES="de|en"
ARG EXTRA=

FROM ${PYTHON} AS build
WORKDIR /build
ENV UV_PROJECT_ENVIRONMENT=/opt/success \
    UV_PYTHON_DOWNLOADS=never \
    UV_LINK_MODE=copy \
    UV_NO_CACHE=1
COPY .ci/uv.txt .ci/uv.txt
RUN python -m pip install --no-cache-dir --require-hashes -r .ci/uv.txt
# What others made changes rarely, so it is a layer of its own.
COPY pyproject.toml uv.lock ./
ARG EXTRA
RUN uv sync --frozen --no-default-groups --no-install-project ${EXTRA:+--extra "$EXTRA"}
# 30 MB of days and numbers, in a thousand languages.
ARG LANGUAGES
RUN find /opt/success -path "*/babel/locale-data/*" -regextype posix-extended \
      ! -regex ".*/(root|(${LANGUAGES})(_.*)?)\.dat" -delete
COPY . .
RUN uv sync --frozen --no-default-groups --no-editable ${EXTRA:+--extra "$EXTRA"}

FROM ${PYTHON}
LABEL org.opencontainers.image.title="wedsync-success" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /tmp --shell /usr/sbin/nologin success
COPY --from=build /opt/success /opt/success
COPY LICENSE NOTICE /opt/success/
ENV PATH=/opt/success/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SUCCESS_STATE_DIR=/tmp/success
USER 10001:10001
WORKDIR /tmp
STOPSIGNAL SIGTERM
# PID 1 is `success` itself: it takes SIGTERM, and --no-restart leaves restarting to the platform.
ENTRYPOINT ["success"]
CMD ["--help"]
