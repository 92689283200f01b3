# `afield serve` on the CPU. Mount a model folder at /model and set AFIELD_TOKEN (at least 16 characters).
#   docker build --build-arg TORCH_INDEX=URL_OF_CPU_WHEELS -t afield .
#   docker run -p 8000:8000 -e AFIELD_TOKEN -v ./runs/site-model:/model:ro afield
FROM python:3.12-slim

# The index of PyTorch's wheels for the CPU, and a mirror for all other packages; by default, pip's own.
# Without TORCH_INDEX, pip may install wheels with CUDA, which work but are large.
ARG TORCH_INDEX=
ARG PACKAGE_INDEX=

RUN useradd --create-home --uid 1000 afield
RUN pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "torch>=2.11" "torchvision>=0.26"
COPY pyproject.toml README.md LICENSE /source/
COPY src /source/src
RUN pip install --no-cache-dir ${PACKAGE_INDEX:+--index-url "$PACKAGE_INDEX"} "/source[serve,export]"

USER afield
ENV OMP_NUM_THREADS=1
EXPOSE 8000
HEALTHCHECK --start-period=60s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health')"]
ENTRYPOINT ["afield", "serve"]
CMD ["/model", "--host", "0.0.0.0", "--port", "8000"]
