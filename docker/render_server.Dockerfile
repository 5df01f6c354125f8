# A render worker: Blender as a Python package and the gRPC server, no PyTorch.
# It runs on CPUs as it is. On a GPU it needs `--device auto`, and on the host NVIDIA's driver and Container Toolkit, with
# the driver's capabilities compute, graphics (OptiX) and utility. Not yet run on a GPU.
# Build from the repository's root: docker build -f docker/render_server.Dockerfile -t metasim-render .
FROM python:3.11-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /src
# The packages first: they stay as they are while the project changes.
COPY pyproject.toml constraints.txt docker/requirements.py ./
RUN python requirements.py render > requirements.txt \
    && pip install --constraint constraints.txt --requirement requirements.txt
COPY README.md LICENSE ./
COPY grammars grammars
COPY proto proto
COPY trainer trainer
COPY render_server render_server
RUN pip install --no-deps .

FROM python:3.11-slim-bookworm
# What Blender is linked with. It opens no window, so libGL is unpacked without the drivers (240 MB) that it depends on.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libsm6 libx11-6 libxfixes3 libxi6 libxkbcommon0 libxrender1 \
    && cd /tmp && apt-get download libgl1 libglvnd0 libglx0 \
    && for package in *.deb; do dpkg-deb --extract "$package" /; done && ldconfig \
    && rm -rf /tmp/*.deb /var/lib/apt/lists/*
RUN useradd --uid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin metasim
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1
USER 10001
EXPOSE 50051
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-m", "render_server.service.health_check"]
ENTRYPOINT ["metasim-render"]
CMD ["serve", "--host", "0.0.0.0", "--port", "50051"]
