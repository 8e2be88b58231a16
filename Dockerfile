# The page in a container: `docker compose up`, then http://127.0.0.1:7860. compose.yaml says how it is closed off.
FROM python:3.12-slim

# PyPI's torch brings the libraries of NVIDIA's cards, several gigabytes. An index of builds without them is named by
#   docker compose build --build-arg PIP_EXTRA_INDEX_URL=...
# pip reads this variable; pytorch.org/get-started says where the index is.
ARG PIP_EXTRA_INDEX_URL

WORKDIR /app
COPY requirements.txt ./
RUN pip install --no-cache-dir --disable-pip-version-check -r requirements.txt
COPY app.py LICENSE ./
COPY assets ./assets
COPY iscam ./iscam
RUN python -m compileall -q iscam app.py && useradd --uid 1000 iscam && install -d -o iscam /models

# What is written, into /tmp and /models alone: uploads and caches, and the models that are fetched
ENV GRADIO_SERVER_NAME=0.0.0.0 PORT=7860 HOME=/tmp MPLCONFIGDIR=/tmp/matplotlib TORCH_HOME=/models/torch HF_HOME=/models/huggingface
USER iscam
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s CMD ["python", "-c", "import http.client as h, os; c = h.HTTPConnection('127.0.0.1', int(os.environ['PORT']), timeout=8); c.request('GET', '/robots.txt'); raise SystemExit(c.getresponse().status != 200)"]
CMD ["python", "app.py"]
