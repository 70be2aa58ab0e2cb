# jnrsfm on the CPU.
#   docker build -t jnrsfm .
#   docker run --rm -v "$PWD:/data" --user "$(id -u):$(id -g)" jnrsfm fit video.h5 --method csf --out run
FROM python:3.12-slim

ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    JAX_PLATFORMS=cpu
COPY pyproject.toml README.md LICENSE /src/
COPY jnrsfm /src/jnrsfm
RUN pip install '/src[viz,files,images,c3d]' && rm -rf /src

RUN useradd --create-home user
USER user
WORKDIR /data
ENTRYPOINT ["jnrsfm"]
