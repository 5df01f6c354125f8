# The trainer: PyTorch and the client of the render pool, no Blender.
# Build from the repository's root: docker build -f docker/trainer.Dockerfile -t metasim-trainer .
FROM python:3.11-slim-bookworm AS build
# On a GPU the container needs NVIDIA's driver and Container Toolkit on the host, and PyTorch with CUDA:
# where PyTorch comes from besides PyPI. The default has builds for the CPU alone; with --build-arg TORCH_INDEX= it is
# PyPI's, which brings CUDA (several gigabytes).
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# Extras of the project. With --build-arg EXTRAS="trainer natural parquet cloud" the image writes datasets to object stores.
ARG EXTRAS="trainer natural"
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /src
# The packages first: they stay as they are while the project changes.
COPY pyproject.toml constraints.txt docker/requirements.py ./
RUN pip install --no-deps --constraint constraints.txt ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} torch
RUN python requirements.py ${EXTRAS} > requirements.txt \
    && pip install --constraint constraints.txt --requirement requirements.txt
COPY README.md LICENSE ./
COPY grammars grammars
COPY proto proto
COPY trainer trainer
COPY render_server render_server
RUN pip install --no-deps .

FROM python:3.11-slim-bookworm
RUN useradd --uid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin metasim \
    && mkdir --parents /metasim/runs /metasim/cache \
    && chown --recursive 10001 /metasim
COPY --from=build /opt/venv /opt/venv
COPY docker/as_owner.py /opt/as_owner.py
ENV PATH=/opt/venv/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 XDG_CACHE_HOME=/metasim/cache MPLCONFIGDIR=/tmp/matplotlib
USER 10001
WORKDIR /metasim
ENTRYPOINT ["python", "/opt/as_owner.py"]
CMD ["metasim", "--help"]
